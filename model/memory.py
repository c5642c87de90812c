"""The class memory: one row per category, immutable. A revision makes a new one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from model.arrays import F32, I64
from model.hallucination import ClassRow


@dataclass(frozen=True)
class ClassMemory:
    """Aligned arrays of K classes in a space of D dimensions.

    ``categories`` opaque ids; ``centroids`` f32[K,D] class means; ``weights`` f32[K,D] unit classifier
    weights; ``hallucinators`` f32[K,D] rows of T_hal (Eq. 2); ``counts`` i64[K] images behind each;
    ``limits`` f32[K] the distance within which 95 % of a category's images lie.
    """

    categories: tuple[str, ...]
    centroids: F32
    weights: F32
    hallucinators: F32
    counts: I64
    limits: F32

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, field.name)) for field in fields(self)}
        if lengths != {len(self.categories)}:
            raise ValueError("All arrays of a class memory have one row per category.")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("A category has one row in a class memory.")

    def __len__(self) -> int:
        return len(self.categories)

    @classmethod
    def empty(cls, dim: int) -> "ClassMemory":
        return cls.of({}, {}, dim)

    @classmethod
    def of(cls, rows: dict[str, ClassRow], limits: dict[str, float], dim: int) -> "ClassMemory":
        """A memory with the given rows, in the order of ``rows``."""

        def stacked(name: str) -> F32:
            return np.array([getattr(row, name) for row in rows.values()], np.float32).reshape(-1, dim)

        return cls(
            tuple(rows),
            stacked("centroid"),
            stacked("weight"),
            stacked("hallucinator"),
            np.array([row.count for row in rows.values()], np.int64),
            np.array([limits[category] for category in rows], np.float32),
        )

    def find(self, category: str) -> ClassRow | None:
        """The row of a category, None if it has none."""
        if category not in self.categories:
            return None
        k = self.categories.index(category)
        return ClassRow(self.centroids[k], self.weights[k], self.hallucinators[k], int(self.counts[k]))

    def replaced(self, category: str, row: ClassRow | None, limit: float = 0.0) -> "ClassMemory":
        """A memory in which ``category`` has this row (None: no row); the others keep their places."""
        rows = {name: found for name in self.categories if (found := self.find(name)) is not None}
        limits = dict(zip(self.categories, self.limits.tolist(), strict=True))
        if row is None:
            rows.pop(category, None)
        else:
            rows[category], limits[category] = row, limit
        return ClassMemory.of(rows, limits, self.centroids.shape[1])

    def reordered(self, order: Sequence[int]) -> "ClassMemory":
        """The same rows in another order."""
        index = np.asarray(order, np.int64)
        return ClassMemory(
            tuple(self.categories[i] for i in index),
            self.centroids[index],
            self.weights[index],
            self.hallucinators[index],
            self.counts[index],
            self.limits[index],
        )

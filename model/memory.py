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
        if category in self.categories:
            place = self.categories.index(category)
            before, after = range(place), range(place + 1, len(self))
        else:
            before, after = range(len(self)), range(0)
        rows = {} if row is None else {category: row}
        middle = ClassMemory.of(rows, {category: limit}, self.centroids.shape[1])
        return joined(self.reordered(before), middle, self.reordered(after))

    def reordered(self, order: Sequence[int]) -> "ClassMemory":
        """The rows at these places, in this order."""
        index = np.asarray(order, np.int64)
        return ClassMemory(
            tuple(self.categories[i] for i in index),
            self.centroids[index],
            self.weights[index],
            self.hallucinators[index],
            self.counts[index],
            self.limits[index],
        )


def joined(*parts: ClassMemory) -> ClassMemory:
    """One memory with the rows of all parts, in order. No category may occur twice."""
    return ClassMemory(
        tuple(category for part in parts for category in part.categories),
        np.concatenate([part.centroids for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.hallucinators for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.limits for part in parts]),
    )

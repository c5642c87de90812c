"""What every open-set score offers."""

from typing import Self

import numpy as np

from model.arrays import F32, I64
from model.memory import ClassMemory


class Score:
    """How unknown an image is: higher = more unknown, always.

    A score is a function of the embedding and of the class memory, so that a class added by people
    makes its images known at once. Fitted parts depend on training data only.
    """

    name: str

    def fit(self, v: F32, labels: I64) -> Self:
        """A score fitted to labelled embeddings f32[N,D]; by default there is nothing to fit."""
        return self

    def score(self, v: F32, memory: ClassMemory) -> F32:
        """f32[N] for embeddings f32[N,D] and a memory of K ≥ 1 classes."""
        raise NotImplementedError

    def arrays(self) -> dict[str, F32]:
        """Fitted parts, to be stored with the model."""
        return {}

    @classmethod
    def restore(cls, arrays: dict[str, F32]) -> Self:
        """The score with the fitted parts that ``arrays`` gave."""
        return cls(**arrays)


def nearest(values: F32) -> F32:
    return np.asarray(values.min(axis=1), dtype=np.float32)

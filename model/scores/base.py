"""What every open-set score offers."""

from typing import ClassVar, Self

from model.arrays import F32, I64
from model.memory import ClassMemory


class Score:
    """How unknown an image is: higher = more unknown, always.

    A score is the distance to the nearest class, in the score's own measure: a function of the embedding
    and of the class memory, so that a class added by people makes its images known at once. What is
    fitted depends on training data only.
    """

    name: ClassVar[str]

    def fit(self, v: F32, labels: I64) -> Self:
        """The score fitted to embeddings f32[N,D] with labels 0…K−1; by default nothing is fitted."""
        return self

    def gaps(self, v: F32, memory: ClassMemory) -> F32:
        """f32[N,K] ≥ 0: how far each embedding f32[N,D] is from each class of the memory."""
        raise NotImplementedError

    def score(self, v: F32, memory: ClassMemory) -> F32:
        """f32[N]; K ≥ 1."""
        nearest: F32 = self.gaps(v, memory).min(axis=1)
        return nearest

    def arrays(self) -> dict[str, F32]:
        """Fitted parts, to be stored with the model."""
        return {}

    @classmethod
    def restore(cls, arrays: dict[str, F32]) -> Self:
        """The score with the fitted parts that ``arrays`` gave."""
        return cls(**arrays)

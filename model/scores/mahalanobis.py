"""min_i √((v − c_i)ᵀ Σ⁻¹ (v − c_i)), Σ the pooled within-class covariance (Lee et al. 2018), shrunk."""

from dataclasses import dataclass
from typing import Self

from model.arrays import F32, I64, distances
from model.memory import ClassMemory
from model.scores.base import Score
from model.space import pooled_covariance, whitening_factor


@dataclass(frozen=True)
class Mahalanobis(Score):
    """``factor`` f32[D,D] with factor·factorᵀ = Σ⁻¹ up to scale; None before ``fit``."""

    factor: F32 | None = None
    name = "mahalanobis"

    def fit(self, v: F32, labels: I64) -> Self:
        return type(self)(whitening_factor(pooled_covariance(v, labels)))

    def gaps(self, v: F32, memory: ClassMemory) -> F32:
        if self.factor is None:
            raise ValueError("Fit the Mahalanobis score before use.")
        return distances(v @ self.factor, memory.centroids @ self.factor)

    def arrays(self) -> dict[str, F32]:
        return {} if self.factor is None else {"factor": self.factor}

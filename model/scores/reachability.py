"""γ/γ₀: distance to the nearest centroid (OLTR, Eq. 3) in units of what is usual in training."""

from model.arrays import F32, distances
from model.memory import ClassMemory
from model.scores.base import Score, nearest


class Reachability(Score):
    """γ = min_i ‖v − c_i‖. γ₀ only sets the unit: it is one number of the model, not of this score."""

    name = "reachability"

    def score(self, v: F32, memory: ClassMemory) -> F32:
        return nearest(distances(v, memory.centroids))

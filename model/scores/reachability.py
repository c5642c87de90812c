"""γ = min_i ‖v − c_i‖: distance to the nearest centroid (OLTR, Eq. 3)."""

from model.arrays import F32, distances
from model.memory import ClassMemory
from model.scores.base import Score


class Reachability(Score):
    """The paper's γ. Dividing by γ₀ would change the unit only, and the threshold takes care of units."""

    name = "reachability"

    def gaps(self, v: F32, memory: ClassMemory) -> F32:
        return distances(v, memory.centroids)

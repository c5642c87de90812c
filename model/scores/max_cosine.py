"""√(2 − 2·max_i cos(v, c_i)): the largest cosine, told as a distance on the unit sphere."""

from model.arrays import F32, distances, unit
from model.memory import ClassMemory
from model.scores.base import Score


class MaxCosine(Score):
    """Differs from reachability in that the length of a class mean (how tight the class is) is ignored."""

    name = "max_cosine"

    def gaps(self, v: F32, memory: ClassMemory) -> F32:
        return distances(unit(v), unit(memory.centroids))

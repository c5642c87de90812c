"""1 − max_i cos(v, c_i): the angle to the nearest class mean, whatever the mean's length."""

from model.arrays import F32, unit
from model.memory import ClassMemory
from model.scores.base import Score, nearest


class MaxCosine(Score):
    name = "max_cosine"

    def score(self, v: F32, memory: ClassMemory) -> F32:
        return nearest(1.0 - unit(v) @ unit(memory.centroids).T)

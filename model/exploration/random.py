"""A uniform draw: the control that shows what any other strategy gains."""

import numpy as np

from model.exploration.base import Pool, Selection


class Random:
    name = "random"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        chosen = rng.permutation(len(pool))[: max(budget, 0)]
        return Selection.ungrouped(chosen.astype(np.int64))

"""Plain order of the gate's score, highest first: by default the paper's free energy."""

import numpy as np

from model.exploration.base import Pool, Selection, highest


class FreeEnergy:
    name = "free_energy"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        return Selection.ungrouped(highest(pool.gate_score, budget))

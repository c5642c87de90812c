"""What a selection strategy sees and what it gives back."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from model.arrays import F32, I64
from model.scores.threshold import TYPICAL_KNOWN

Gate = Literal["free_energy", "openness", "unknown_score"]


@dataclass(frozen=True)
class Pool:
    """N images that nobody has labelled, row by row.

    ``v`` f32[N,D] unit vectors; ``free_energy``, ``openness``, ``unknown_score`` f32[N];
    ``labelled`` f32[M,D] images that people have labelled already; ``open_share`` the estimated share
    of images of unknown classes, 0…1; ``gate`` the score that admits images to the choice.
    """

    v: F32
    free_energy: F32
    openness: F32
    unknown_score: F32
    labelled: F32
    open_share: float = 0.0
    gate: Gate = "free_energy"

    def __len__(self) -> int:
        return len(self.v)

    @property
    def gate_score(self) -> F32:
        scores: dict[Gate, F32] = {
            "free_energy": self.free_energy,
            "openness": self.openness,
            "unknown_score": self.unknown_score,
        }
        return scores[self.gate]


@dataclass(frozen=True)
class Selection:
    """min(budget, N) different images, best first.

    ``indices`` int64[n] rows of the pool; ``groups`` int64[n] the look-alike group that an image
    stands for (−1: chosen by itself); ``group_sizes`` int64[n] images in that group (1 without one).
    """

    indices: I64
    groups: I64
    group_sizes: I64

    @classmethod
    def ungrouped(cls, indices: I64) -> "Selection":
        return cls(indices, np.full(len(indices), -1, np.int64), np.ones(len(indices), np.int64))


class Strategy(Protocol):
    """A rule that chooses images. It needs scores and a budget, nothing else."""

    name: str

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection: ...


def estimate_open_share(unknown_score: F32) -> float:
    """π̂: the share of images of unknown classes in a pool, from its unknown scores f32[N]; 0 if empty.

    Half of the known images lie above ``TYPICAL_KNOWN`` by calibration, nearly all unknown ones do, so
    what lies above it beyond one half tells their share. A lower bound, but a near one: counting what is
    called new, beyond the 5 % of known images called so, found a quarter of the share, closed the gate too
    far and left ``frontier`` behind a random choice (docs/results/head.md).
    """
    if len(unknown_score) == 0:
        return 0.0
    above = float((unknown_score > TYPICAL_KNOWN).mean())
    return max(0.0, 2 * above - 1)


def highest(score: F32, budget: int) -> I64:
    """Rows of the ``budget`` highest scores, highest first; ties in row order."""
    return np.argsort(-score, kind="stable")[: max(budget, 0)].astype(np.int64)

"""The cut between known and new, and how it is found: on held-out known images, never on test data."""

import warnings
from dataclasses import dataclass

import numpy as np

from model.arrays import F32, Bool

ACCEPTED_SHARE = 0.95
LEAST_SPREAD = 0.02
# The unknown score of the middle one of held-out known images: one spread below the cut, 1/(1 + e).
TYPICAL_KNOWN = 0.26894


@dataclass(frozen=True)
class Threshold:
    """``value``: the cut on the raw ``score``; ``spread`` > 0: the raw distance that counts as clear;
    ``rule``: how the cut was found, in words."""

    score: str
    value: float
    spread: float
    rule: str

    def normalise(self, raw: F32) -> F32:
        """Raw scores as numbers in (0, 1) in the same order, with the cut at 0.5."""
        steps = np.clip((raw.astype(np.float64) - self.value) / self.spread, -30.0, 30.0)
        return np.asarray(1.0 / (1.0 + np.exp(-steps)), dtype=np.float32)


def calibrate(score: str, held_out: F32, accepted: float = ACCEPTED_SHARE) -> Threshold:
    """The cut below which ``accepted`` of the raw scores f32[N] of held-out known images lie; N ≥ 1."""
    value = float(np.quantile(held_out, accepted))
    # Few images, or all alike, have no spread of their own.
    spread = max(value - float(np.median(held_out)), LEAST_SPREAD)
    rule = f"{accepted:.0%} of {len(held_out)} held-out known images accepted"
    return Threshold(score, value, spread, rule)


def known_by_probability(highest: F32, tau: float, classes: int) -> Bool:
    """The paper's rule: known if the highest class probability f32[N] reaches ``tau``.

    Warns when τ ≤ 1/K: the highest of K probabilities is never below 1/K, so nothing is ever new.
    """
    if classes and tau <= 1.0 / classes:
        warnings.warn(
            f"A probability threshold of {tau:g} rejects nothing with {classes} classes: "
            f"it must lie above 1/{classes}.",
            stacklevel=2,
        )
    return np.asarray(highest >= tau)

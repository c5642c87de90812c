"""What a recipe reaches on labelled images that it has not seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model import metrics
from model.arrays import F32, Bool
from model.recogniser import Recogniser

HELD_OUT_SHARE = 0.2


def hold_out(labels: Sequence[str], seed: int) -> Bool:
    """Which images to hold out, bool[N]: a fifth of each category's, rounded down, never its last two.

    So a category with up to four images is trained on whole and not measured.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    chosen = np.zeros(len(labels), np.bool_)
    for category in range(len(names)):
        rows = rng.permutation(np.flatnonzero(index == category))
        chosen[rows[: int(HELD_OUT_SHARE * len(rows))]] = True
    return chosen


def measure(
    recogniser: Recogniser, features: F32, labels: Sequence[str], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Figures of a recogniser on images f32[N,F] of its own categories, N ≥ 1.

    ``counts``: labelled images of each category, those held out included; they make the shot bins.
    ``accuracy`` and ``accuracy_by_shot`` (many, medium, few; null for a bin without images) count a right
    category; ``accepted_share`` is the share of these known images that are called known.
    """
    memory = recogniser.base
    places = {category: k for k, category in enumerate(memory.categories)}
    truth = np.array([places[label] for label in labels], np.int64)
    shots = np.array([counts[category] for category in memory.categories], np.int64)
    found = recogniser.predict(recogniser.embed(features), memory)
    predicted = found.order[:, 0]
    return {
        "held_out_images": len(truth),
        "accuracy": metrics.accuracy(predicted, truth),
        "macro_accuracy": metrics.macro_accuracy(predicted, truth),
        "accuracy_by_shot": metrics.accuracy_by_shot(predicted, truth, shots),
        "accepted_share": float(found.is_known.mean()),
        "unknown_score": recogniser.threshold.score,
        "threshold_rule": recogniser.threshold.rule,
    }

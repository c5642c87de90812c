"""Measures of closed-set and open-set recognition. Labels are indices; −1 = unknown."""

from typing import Literal

import numpy as np

from model.arrays import F32, I64, Bool

UNKNOWN = -1

# Two rules are in print: the paper's text (many > 100, few < 20) and its Table 4 and code (many ≥ 100,
# few ≤ 20). They differ at exactly 20 and 100 training images.
ShotRule = Literal["table", "text"]
FRule = Literal["standard", "old", "new"]


def accuracy(predicted: I64, labels: I64) -> float:
    """Share of right answers; NaN without images."""
    return float((predicted == labels).mean()) if len(labels) else float("nan")


def macro_accuracy(predicted: I64, labels: I64) -> float:
    """Mean over the classes present of the share of right answers; NaN without images."""
    shares = [accuracy(predicted[labels == k], labels[labels == k]) for k in np.unique(labels)]
    return float(np.mean(shares)) if shares else float("nan")


def shot_bins(counts: I64, rule: ShotRule = "table") -> dict[str, Bool]:
    """Masks over classes by their number of training images i64[K]: many, medium, few."""
    many = counts >= 100 if rule == "table" else counts > 100
    few = counts <= 20 if rule == "table" else counts < 20
    return {"many": many, "medium": ~many & ~few, "few": few}


def accuracy_by_shot(
    predicted: I64, labels: I64, counts: I64, rule: ShotRule = "table"
) -> dict[str, float | None]:
    """Accuracy over the images of each bin's classes; None for a bin without images."""
    result = {}
    for name, mask in shot_bins(counts, rule).items():
        rows = mask[labels]
        result[name] = accuracy(predicted[rows], labels[rows]) if rows.any() else None
    return result


def auroc(unknown_score: F32, is_unknown: Bool) -> float:
    """Probability that an unknown image scores above a known one, ties half; NaN if one kind is absent."""
    unknown, known = int(is_unknown.sum()), int((~is_unknown).sum())
    if unknown == 0 or known == 0:
        return float("nan")
    _, inverse, counts = np.unique(unknown_score, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_ranks[inverse][is_unknown].sum())
    return (rank_sum - unknown * (unknown + 1) / 2) / (unknown * known)


def fpr_at_tpr(unknown_score: F32, is_unknown: Bool, tpr: float = 0.95) -> float:
    """FPR@TPR: share of unknown images accepted by the cut that accepts ``tpr`` of the known ones.

    NaN if one kind is absent.
    """
    known, unknown = np.sort(unknown_score[~is_unknown]), unknown_score[is_unknown]
    if len(known) == 0 or len(unknown) == 0:
        return float("nan")
    # The smallest cut that accepts at least this share; the tolerance keeps 0.95·20 at 19, not 20.
    cut = known[max(int(np.ceil(tpr * len(known) - 1e-9)) - 1, 0)]
    return float((unknown <= cut).mean())


def open_f_measure(predicted: I64, labels: I64, rule: FRule = "standard") -> float:
    """Open-set F of predictions and labels, both with −1 for unknown; 0 when nothing is right.

    ``standard``: micro F over known classes: an unknown image called known is a false positive, a known
    image not called by its class is a false negative.
    ``old`` (reference code before 2020-01-29): FP = known image given another known class, FN = unknown
    image accepted; rejecting everything scores near 1.
    ``new`` (after): FP = known image wrong in any way, FN as in ``old``.
    """
    is_known, accepted, right = labels != UNKNOWN, predicted != UNKNOWN, predicted == labels
    true_positive = int((right & is_known).sum())
    accepted_unknown = int((accepted & ~is_known).sum())
    if rule == "standard":
        false_positive = int((accepted & ~right).sum())
        false_negative = int((is_known & ~right).sum())
    elif rule == "new":
        false_positive, false_negative = int((is_known & ~right).sum()), accepted_unknown
    else:
        false_positive, false_negative = int((is_known & accepted & ~right).sum()), accepted_unknown
    whole = 2 * true_positive + false_positive + false_negative
    return 2 * true_positive / whole if whole else 0.0

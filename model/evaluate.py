"""How well a recogniser does on labelled pictures: closed set, by shot, and open set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from model import metrics
from model.arrays import F32
from model.memory import ClassMemory
from model.recogniser import Recogniser


@dataclass(frozen=True)
class Evaluation:
    """Shares in 0…1; None where there are no images to tell by. ``*_unknown``: of categories that the
    memory lacks."""

    images: int
    images_unknown: int
    accuracy: float | None
    macro_accuracy: float | None
    accuracy_by_shot: dict[str, float | None]
    known_accepted: float | None
    unknown_rejected: float | None
    auroc: float | None
    fpr_at_95_tpr: float | None
    f_standard: float
    f_old: float
    f_new: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def evaluate(
    recogniser: Recogniser,
    memory: ClassMemory,
    x: F32,
    labels: Sequence[str],
    *,
    shot_rule: metrics.ShotRule = "table",
) -> Evaluation:
    """Measure on raw features f32[N,F] and true categories; categories not in the memory are unknown.

    ``accuracy*`` is that of the nearest-in-probability class, whether accepted or not; the F-measures count
    rejection.
    """
    index = {category: k for k, category in enumerate(memory.categories)}
    true = np.array([index.get(label, metrics.UNKNOWN) for label in labels], np.int64)
    found = recogniser.predict(recogniser.embed(x), memory)
    best = found.order[:, 0] if len(memory) else np.full(len(true), metrics.UNKNOWN, np.int64)
    decided = np.where(found.is_known, best, metrics.UNKNOWN)
    known = true != metrics.UNKNOWN
    return Evaluation(
        images=int(known.sum()),
        images_unknown=int((~known).sum()),
        accuracy=_present(metrics.accuracy(best[known], true[known])),
        macro_accuracy=_present(metrics.macro_accuracy(best[known], true[known])),
        accuracy_by_shot=metrics.accuracy_by_shot(best[known], true[known], memory.counts, shot_rule),
        known_accepted=float(found.is_known[known].mean()) if known.any() else None,
        unknown_rejected=float((~found.is_known[~known]).mean()) if not known.all() else None,
        auroc=_present(metrics.auroc(found.unknown_score, ~known)),
        fpr_at_95_tpr=_present(metrics.fpr_at_tpr(found.unknown_score, ~known)),
        f_standard=metrics.open_f_measure(decided, true, "standard"),
        f_old=metrics.open_f_measure(decided, true, "old"),
        f_new=metrics.open_f_measure(decided, true, "new"),
    )


def _present(value: float) -> float | None:
    """NaN means "no images": JSON has no NaN."""
    return None if np.isnan(value) else value

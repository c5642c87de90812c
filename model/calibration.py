"""What training images teach about distances that the head has not seen: by cross-fitting.

Distances of an image to the mean it helped to form, in a space that it helped to whiten, are too small
to say anything. So the space and the means are fitted on part of the images and the rest are measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from model.arrays import F32, I64, Bool, distances
from model.hallucination import usual_limit
from model.memory import ClassMemory
from model.metrics import auroc
from model.scores import SCORES, Score, Threshold, calibrate
from model.space import Space, class_means

FitSpace = Callable[[F32, I64], Space]

FOLDS = 5
# With fewer classes a fold of them is too few to stand for "everything else".
CLASSES_FOR_CHOICE = 10


@dataclass(frozen=True)
class Calibration:
    """``gamma0``: usual distance of an image to its nearest class; ``limits``: usual limit of each class,
    f32[K], ``limit``: of all pooled, for a centroid known exactly; ``threshold``: the cut on its score."""

    gamma0: float
    limit: float
    limits: F32
    threshold: Threshold


@dataclass(frozen=True)
class Round:
    """A fit on some classes and images and the images that it has not seen.

    ``known``: f32[N,D] of fitted classes with ``labels`` (rows of ``memory``); ``unknown``: f32[M,D] of
    classes left out. ``scores``: fitted scores by name.
    """

    memory: ClassMemory
    classes: I64
    known: F32
    labels: I64
    unknown: F32
    scores: dict[str, Score]


def calibrate_on(x: F32, labels: I64, fit_space: FitSpace, *, seed: int) -> Calibration:
    """Measure on raw training features f32[N,F] with labels 0…K−1, N ≥ 1, in spaces fitted as the
    final one will be. Uses known images only."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels)
    score = choose_score(x, labels, fit_space, rng)
    raw, nearest, own, own_class = [], [], [], []
    for fitted in rounds(x, labels, fit_space, folds_of(labels, rng)):
        gaps = distances(fitted.known, fitted.memory.centroids)
        raw.append(fitted.scores[score].score(fitted.known, fitted.memory))
        nearest.append(gaps.min(1))
        # √(1 + 1/n): a mean of n images is itself off; what is left holds for an exact centroid.
        growth = np.sqrt(1 + 1 / fitted.memory.counts[fitted.labels])
        own.append(gaps[np.arange(len(gaps)), fitted.labels] / growth)
        own_class.append(fitted.classes[fitted.labels])
    if not raw:
        return _unmeasured(len(counts))
    own_distances, owners = np.concatenate(own), np.concatenate(own_class)
    limit = float(np.quantile(own_distances, 0.95))
    limits = [usual_limit(limit, int(n), own_distances[owners == k]) for k, n in enumerate(counts)]
    return Calibration(
        gamma0=float(np.median(np.concatenate(nearest))),
        limit=limit,
        limits=np.array(limits, np.float32),
        threshold=calibrate(score, np.concatenate(raw)),
    )


def _unmeasured(classes: int) -> Calibration:
    """For classes of one image each nothing can be held out. Seen on single images of emoji and groceries:
    their like lies within 0.75 where the origin is not moved (one class), within 1.25 where it is."""
    cut = 0.75 + 0.5 * (1 - 1 / classes)
    limits = np.full(classes, cut, np.float32)
    threshold = Threshold("reachability", cut, 0.1, "fixed: no class has two images")
    return Calibration(1.0, cut / float(np.sqrt(2)), limits, threshold)


def choose_score(x: F32, labels: I64, fit_space: FitSpace, rng: np.random.Generator) -> str:
    """The score that best tells held-out images of fitted classes from classes left out on purpose.

    The declared open validation set is made of known classes: no test data. With fewer than ten classes
    there is nothing to choose by, and Mahalanobis, the best on the design's sets, is taken.
    """
    classes = int(labels.max()) + 1
    results: dict[str, list[float]] = {name: [] for name in SCORES}
    if classes >= CLASSES_FOR_CHOICE:
        folds = folds_of(labels, rng)
        # Each class is left out in one round.
        left_out = rng.permutation(classes) % FOLDS == np.arange(FOLDS)[:, None]
        for fitted in rounds(x, labels, fit_space, folds, left_out):
            is_unknown = np.repeat([False, True], [len(fitted.known), len(fitted.unknown)])
            both = np.concatenate([fitted.known, fitted.unknown])
            for name, score in fitted.scores.items():
                results[name].append(auroc(score.score(both, fitted.memory), is_unknown))
    means = {name: float(np.mean(values)) for name, values in results.items() if values}
    return max(means, key=means.__getitem__) if means else "mahalanobis"


def folds_of(labels: I64, rng: np.random.Generator) -> I64:
    """A fold 0…FOLDS−1 for each image, spread evenly within its class; −1, never held out, for the only
    image of a class."""
    folds = np.full(len(labels), -1, np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            folds[rows] = (np.arange(len(rows)) + rng.integers(FOLDS)) % FOLDS
    return folds


def rounds(
    x: F32, labels: I64, fit_space: FitSpace, folds: I64, left_out: Bool | None = None
) -> Iterator[Round]:
    """One fit per fold, without its images and without the classes ``left_out`` bool[FOLDS,K]."""
    for fold in range(FOLDS):
        is_open = np.zeros(len(x), np.bool_) if left_out is None else left_out[fold][labels]
        held_out = (folds == fold) & ~is_open
        fit = (folds != fold) & ~is_open
        if not held_out.any() or not fit.any():
            continue
        classes, index = np.unique(labels[fit], return_inverse=True)
        space = fit_space(x[fit], index)
        v = space.transform(x[fit])
        means = class_means(v, index, len(classes))
        counts = np.bincount(index)
        limits = np.zeros(len(classes), np.float32)
        memory = ClassMemory(tuple(map(str, classes)), means, means, means, counts, limits)
        yield Round(
            memory=memory,
            classes=classes,
            known=space.transform(x[held_out]),
            labels=np.searchsorted(classes, labels[held_out]),
            unknown=space.transform(x[is_open]),
            scores={name: score().fit(v, index) for name, score in SCORES.items()},
        )

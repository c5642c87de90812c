"""Classes from labelled images without training (OLTR++, "weight hallucination").

A class row is a pure function of the row as trained and of the images labelled and withdrawn since:
labels that come one by one, in any order, twice over or are taken back give the same row as all at
once. No sums are kept that could drift.
"""

from dataclasses import dataclass

import numpy as np

from model.arrays import F32, F64, TINY, unit


@dataclass(frozen=True)
class ClassRow:
    """One class of ``count`` images: ``centroid``, unit ``weight`` and ``hallucinator``, each f32[D]."""

    centroid: F32
    weight: F32
    hallucinator: F32
    count: int


def hallucinate(v: F32, *, energies: F32 | None = None, temperature: float = 0.2) -> ClassRow:
    """The row of a new class from the embeddings f32[n,D] of its labelled images, n ≥ 1.

    The mean is uniform. With ``energies`` f32[n] image i counts in proportion to exp(E_i/temperature)
    (the paper's reading); measured worse than the uniform mean, hence an option.
    """
    if len(v) == 0:
        raise ValueError("A class needs at least one labelled image.")
    if energies is None:
        mean = v.astype(np.float64).mean(0)
    else:
        share = np.exp((energies.astype(np.float64) - energies.max()) / temperature)
        mean = (share / share.sum()) @ v.astype(np.float64)
    return _row(mean, mean, mean, len(v))


def update(base: ClassRow | None, added: F32, removed: F32) -> ClassRow | None:
    """The row of a class after labels came and went; None when no image is left.

    ``base`` is the class as trained (None: it was not trained), ``added`` f32[m,D] the embeddings of
    images labelled since, ``removed`` f32[r,D] those of training images withdrawn since. The centroid
    is the exact mean over all images that are left. The trained weight and hallucinator stand for
    their ``count`` images, each with the length that the centroid has, and move with them.
    """
    if base is None and len(removed):
        raise ValueError("Only images that the class was trained on can be withdrawn from its base.")
    before = 0 if base is None else base.count
    count = before + len(added) - len(removed)
    if count <= 0:
        return None
    change = added.astype(np.float64).sum(0) - removed.astype(np.float64).sum(0)
    if base is None:
        return _row(change / count, change / count, change / count, count)
    centroid = base.centroid.astype(np.float64)
    weight = base.weight.astype(np.float64) * np.linalg.norm(centroid)
    hallucinator = base.hallucinator.astype(np.float64)
    centroid, weight, hallucinator = (
        (before * part + change) / count for part in (centroid, weight, hallucinator)
    )
    return _row(centroid, weight, hallucinator, count)


def usual_limit(pooled: float, count: int, distances: F32 | None = None) -> float:
    """The distance to its centroid within which 95 % of a class's images lie.

    ``pooled`` is that limit over all classes for a centroid known exactly. A mean of ``count`` images
    is itself off by a share 1/count of the variance, so its limit is pooled·√(1 + 1/count). From 20
    held-out ``distances`` on, a class is believed to have a limit of its own, shrunk to the pooled one.
    """
    expected = pooled * float(np.sqrt(1.0 + 1.0 / max(count, 1)))
    if distances is None or len(distances) < 20:
        return expected
    own = float(np.quantile(distances, 0.95))
    return (len(distances) * own + 20 * expected) / (len(distances) + 20)


def _row(centroid: F64, weight: F64, hallucinator: F64, count: int) -> ClassRow:
    direction = weight if np.linalg.norm(weight) > TINY else centroid
    return ClassRow(centroid.astype(np.float32), unit(direction), hallucinator.astype(np.float32), int(count))

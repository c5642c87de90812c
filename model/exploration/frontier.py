"""Admit by the gate's score, spread over look-alike groups, offer each group's most typical image.

The gate finds what is new; typicality within groups avoids outliers and repeats (TypiClust, Hacohen
et al. 2022). How hard the gate is follows the estimated share of open images: where they are rare it
must lead, where they are common typicality must.
"""

import numpy as np

from model.arrays import F32, I64
from model.exploration.base import Pool, Selection, highest

# Above this share of open images the gate is left out.
OPEN_COMMON = 0.4
# Groups are formed among the best admitted images only: the cost stays flat for large pools.
MOST_CLUSTERED = 2000
# The latest labelled images that keep a group of their own. More would only slow the clustering.
MOST_PINNED = 300
NEIGHBOURS = 20
ROUNDS = 8
CANDIDATES = 4


class Frontier:
    name = "frontier"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        budget = min(max(budget, 0), len(pool))
        if budget == 0:
            return Selection.ungrouped(np.zeros(0, np.int64))
        admitted = admit(pool, budget)[: max(MOST_CLUSTERED, budget)]
        labelled = pool.labelled[-MOST_PINNED:]
        groups = cluster(pool.v[admitted], budget, labelled, rng)
        chosen = _representatives(groups, typicality(pool.v[admitted]), pinned=len(labelled))[:budget]
        chosen = _filled(chosen, len(admitted), budget)
        sizes = np.bincount(groups)
        return Selection(admitted[chosen], groups[chosen], sizes[groups[chosen]])


def admit(pool: Pool, budget: int) -> I64:
    """Rows that may be offered, by the gate's score, highest first: max(3·budget, 1.5·π̂·N) of them."""
    if pool.open_share > OPEN_COMMON:
        return highest(pool.gate_score, len(pool))
    return highest(pool.gate_score, max(3 * budget, round(1.5 * pool.open_share * len(pool))))


def cluster(v: F32, groups: int, pinned: F32, rng: np.random.Generator) -> I64:
    """k-means on unit vectors f32[N,D]: the group of each, int64[N].

    The first len(pinned) groups sit fixed on the pinned points: what lies nearest to one of them is
    covered by its label. The other ``groups`` are seeded by k-means++ and move.
    """
    groups = min(groups, len(v))
    nearest_pinned = _similarity_to(pinned, v)
    centres = _seeds(v, groups, nearest_pinned.max(1, initial=-1.0), rng)
    for _ in range(ROUNDS):
        similarity = np.hstack([nearest_pinned, v @ centres.T])
        assigned = similarity.argmax(1)
        free = assigned - len(pinned)
        members = np.zeros((groups, len(v)), np.float32)
        rows = np.flatnonzero(free >= 0)
        members[free[rows], rows] = 1.0
        sums = members @ v
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centres).astype(np.float32)
    return np.asarray(assigned, dtype=np.int64)


def typicality(v: F32, neighbours: int = NEIGHBOURS) -> F32:
    """Mean cosine similarity of each unit vector to its nearest ``neighbours``, f32[N]."""
    neighbours = min(neighbours, len(v) - 1)
    if neighbours < 1:
        return np.zeros(len(v), np.float32)
    similarity = v @ v.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.partition(similarity, -neighbours, axis=1)[:, -neighbours:]
    return np.asarray(nearest.mean(1), dtype=np.float32)


def _similarity_to(points: F32, v: F32) -> F32:
    return np.asarray(v @ points.reshape(-1, v.shape[1]).T, dtype=np.float32)


def _seeds(v: F32, groups: int, covered: F32, rng: np.random.Generator) -> F32:
    """Greedy k-means++: of a few images, drawn in proportion to their squared distance to all that went
    before, the one that leaves the least distance becomes the next seed."""
    # Half the squared distance between all images; 2,000 of them are 16 MB.
    distance = np.maximum(1.0 - v @ v.T, 0.0)
    gap = np.maximum(1.0 - covered, 0.0)
    seeds = np.zeros(groups, np.int64)
    for seed in range(groups):
        cumulated = np.cumsum(gap, dtype=np.float64)
        # Rounding may push a draw past the end.
        draws = np.minimum(np.searchsorted(cumulated, rng.random(CANDIDATES) * cumulated[-1]), len(v) - 1)
        gaps = np.minimum(gap, distance[draws])
        best = gaps.sum(1).argmin()
        seeds[seed], gap = draws[best], gaps[best]
    return v[seeds]


def _representatives(groups: I64, typical: F32, pinned: int) -> I64:
    """The most typical image of each group: uncovered groups first, then by size, largest first."""
    sizes = np.bincount(groups)
    best_first = np.lexsort((-typical, groups))
    _, starts = np.unique(groups[best_first], return_index=True)
    chosen = best_first[starts]
    group = groups[chosen]
    order = np.lexsort((-typical[chosen], -sizes[group], group < pinned))
    return chosen[order].astype(np.int64)


def _filled(chosen: I64, available: int, budget: int) -> I64:
    """Fill up to the budget with the highest admitted images that are not chosen yet."""
    rest = np.setdiff1d(np.arange(available), chosen)[: budget - len(chosen)]
    return np.concatenate([chosen, rest]).astype(np.int64)

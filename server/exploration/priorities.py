"""The order of the queue: pure decisions on arrays.

A task's priority is one number, highest served first, in three bands:

* **the round**, 1,000,000 − place: the images that the selection strategy chose, in its order, with the
  control arm among them. A control is an image drawn at random, so that what the strategy gains can be
  shown. Whether the n-th image served is a control depends on n alone, not on how often the queue was
  arranged anew in between: with a share of 0.05 it is every twentieth.
* **the rest**, its free energy (about −1 to 2): what is served when a round is used up before the next
  is chosen.
* **unscored**, −100: images whose scores are not there yet come last, but they come.
"""

from enum import StrEnum

import numpy as np

from server.exploration.scores import Doubles, Flags, Integers, Reals, Scores
from server.predictions.flags import Flag, are_flagged

ROUND_TOP = 1_000_000.0
ROUND_FLOOR = 500_000.0
REST_LIMIT = 50.0
UNSCORED = -100.0


class ReasonKind(StrEnum):
    """Why an image is in the queue."""

    KNOWN = "known"
    UNCERTAIN = "uncertain"
    NEW = "new"
    CONTROL = "control"
    NO_CLASSES = "no-classes"
    UNSCORED = "unscored"


KINDS = list(ReasonKind)


def control_turns(served: int, length: int, share: float) -> Flags:
    """Which of the next ``length`` images served, after ``served`` ones, are controls: bool[length]."""
    turns = np.floor(share * (served + np.arange(length + 1)) + 1e-9)
    return np.asarray(np.diff(turns) > 0)


def arrange(turns: Flags, chosen: Integers, controls: Integers) -> Integers:
    """Rows in the order in which a round is served: a control at each turn, else the next chosen image.

    Where one kind has run out the other goes on, so nothing is left out.
    """
    order: list[int] = []
    waiting = {True: list(controls[::-1]), False: list(chosen[::-1])}
    for turn in turns:
        line = waiting[bool(turn)] or waiting[not turn]
        if line:
            order.append(line.pop())
    order += waiting[False][::-1] + waiting[True][::-1]
    return np.array(order, np.int64)


def priorities(free_energy: Reals, round_order: Integers) -> Doubles:
    """Priorities f64[N]: the round first, in its order, then the others by free energy f32[N]."""
    priority = np.clip(free_energy, -REST_LIMIT, REST_LIMIT).astype(np.float64)
    priority[round_order] = ROUND_TOP - np.arange(len(round_order))
    return priority


def kinds(scores: Scores, is_control: Flags) -> Integers:
    """The reason of each image as its place in ``KINDS``, int64[N]."""
    if scores.nearest_ids.shape[1] == 0:
        named = np.full(len(scores), KINDS.index(ReasonKind.NO_CLASSES))
    else:
        named = np.full(len(scores), KINDS.index(ReasonKind.UNCERTAIN))
        named[are_flagged(Flag.NEW, scores.unknown_score)] = KINDS.index(ReasonKind.NEW)
        named[are_flagged(Flag.KNOWN, scores.unknown_score)] = KINDS.index(ReasonKind.KNOWN)
    named[is_control] = KINDS.index(ReasonKind.CONTROL)
    return named

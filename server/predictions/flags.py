"""The one word that a person sees for an unknown score: the rule, for a number, an array and a column.

An unknown score is calibrated so that its cut lies at ``CUT``. Within ``BAND`` of it the answer is
uncertain.
"""

from enum import StrEnum
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, SQLColumnExpression, and_

CUT = 0.5
BAND = 0.05
NEW_FROM = CUT + BAND
KNOWN_BELOW = CUT - BAND


class Flag(StrEnum):
    """Known, torn, new; UNSCORED before any score."""

    KNOWN = "known"
    UNCERTAIN = "uncertain"
    NEW = "new"
    UNSCORED = "unscored"


def flag_of(unknown_score: float | None) -> Flag:
    """The flag of an unknown score."""
    if unknown_score is None:
        return Flag.UNSCORED
    if unknown_score >= NEW_FROM:
        return Flag.NEW
    return Flag.KNOWN if unknown_score < KNOWN_BELOW else Flag.UNCERTAIN


Mask = np.ndarray[Any, np.dtype[np.bool_]]


def are_flagged(flag: Flag, scores: np.ndarray[Any, Any]) -> Mask:
    """Which of N unknown scores have this flag, bool[N]; UNSCORED are those that are NaN."""
    masks: dict[Flag, Mask] = {
        Flag.NEW: scores >= NEW_FROM,
        Flag.KNOWN: scores < KNOWN_BELOW,
        Flag.UNCERTAIN: (scores >= KNOWN_BELOW) & (scores < NEW_FROM),
        Flag.UNSCORED: np.isnan(scores),
    }
    return masks[flag]


def is_flagged(flag: Flag, score: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """Whether the unknown score of a row has this flag; UNSCORED are those that are null."""
    conditions = {
        Flag.NEW: score >= NEW_FROM,
        Flag.KNOWN: score < KNOWN_BELOW,
        Flag.UNCERTAIN: and_(score >= KNOWN_BELOW, score < NEW_FROM),
        Flag.UNSCORED: score.is_(None),
    }
    return conditions[flag]

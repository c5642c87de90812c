"""The one word that a person sees for an unknown score."""

from enum import StrEnum

CUT = 0.5
BAND = 0.05


class Flag(StrEnum):
    """Known, torn, new; UNSCORED before any score."""

    KNOWN = "known"
    UNCERTAIN = "uncertain"
    NEW = "new"
    UNSCORED = "unscored"


def flag_of(unknown_score: float | None, is_known: bool | None) -> Flag:
    """The flag of an unknown score, which is calibrated so that its cut lies at ``CUT``.

    Within ``BAND`` of the cut, and where decision and score disagree, the answer is uncertain.
    """
    if unknown_score is None:
        return Flag.UNSCORED
    if unknown_score >= CUT + BAND and not is_known:
        return Flag.NEW
    if unknown_score < CUT - BAND and is_known:
        return Flag.KNOWN
    return Flag.UNCERTAIN

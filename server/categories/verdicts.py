"""What a new name is, judged by its text and by the picture it was typed for. Pure decisions.

Text goes before picture: a name in use, or one letter off, is asked about wherever the picture lies.
The two cuts on the picture were measured in the whitened space with a fifth of the classes left out
(81 kinds of groceries on photographs, 25 kinds of emoji), distances as a share of the usual limit:
an image lies beyond ``FAR`` of its own category in at most 1.4 % of cases, and 73–81 % (photographs) or
19 % (emoji) of images of another category do. An image of a category that nobody has named yet lies
within ``CLOSE`` of a known one in 14 % and 2 % of cases, an image of a known one in 53 % and 60 %.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from server.categories.naming import Likeness, TextMatch

FAR = 1.1
CLOSE = 0.8
MAX_CANDIDATES = 5


class Verdict(StrEnum):
    """What a name is."""

    SAME = "same"
    TYPO = "typo"
    SYNONYM = "synonym"
    HOMONYM = "homonym"
    NEW = "new"


@dataclass(frozen=True)
class PictureMatch:
    """How far the picture lies from a category's centre, and how far its images usually lie."""

    distance: float
    usual_limit: float

    @property
    def share(self) -> float:
        """Distance as a share of the usual limit."""
        return self.distance / self.usual_limit if self.usual_limit > 0 else float("inf")


@dataclass(frozen=True)
class Decision:
    """A verdict with the categories that it is about, the likeliest first."""

    verdict: Verdict
    categories: tuple[uuid.UUID, ...]


def decide(texts: Mapping[uuid.UUID, TextMatch], pictures: Mapping[uuid.UUID, PictureMatch]) -> Decision:
    """Judge a name.

    ``texts`` holds the categories whose name is alike (``naming.find_alike``), ``pictures`` the distance
    of the picture to each category; empty without a picture.
    """

    def distance(category: uuid.UUID) -> float:
        return pictures[category].distance if category in pictures else float("inf")

    by_likeness = {
        likeness: tuple(
            sorted(
                (category for category, match in texts.items() if match.likeness is likeness),
                key=lambda category: (texts[category].distance, distance(category)),
            )[:MAX_CANDIDATES]
        )
        for likeness in Likeness
    }
    if exact := by_likeness[Likeness.EXACT]:
        is_far = exact[0] in pictures and pictures[exact[0]].share > FAR
        return Decision(Verdict.HOMONYM if is_far else Verdict.SAME, exact[:1])
    if same := by_likeness[Likeness.SAME_WORDS]:
        return Decision(Verdict.SAME, same)
    if slips := by_likeness[Likeness.SLIP]:
        return Decision(Verdict.TYPO, slips)
    close = [category for category, picture in pictures.items() if picture.share <= CLOSE]
    if close:
        return Decision(Verdict.SYNONYM, tuple(sorted(close, key=distance)[:MAX_CANDIDATES]))
    return Decision(Verdict.NEW, ())

"""The naming check as it is shown: the verdict, and the evidence for it."""

import uuid
from dataclasses import dataclass
from typing import Any

from server.addresses import picture_url
from server.categories.naming import Marks, TextMatch
from server.categories.verdicts import PictureMatch, Verdict
from server.errors import Conflict


@dataclass(frozen=True)
class Candidate:
    """A category that the typed name may mean."""

    category_id: uuid.UUID
    name: str
    alias_matched: str | None
    count: int
    exemplar_ids: tuple[uuid.UUID, ...]
    text: TextMatch
    marks: Marks
    picture: PictureMatch | None


@dataclass(frozen=True)
class Nearest:
    """The nearest category by picture that is no candidate."""

    name: str
    distance: float


@dataclass(frozen=True)
class NameCheck:
    """A verdict on ``typed``. ``is_exact``: the first candidate goes by this very name."""

    project_id: uuid.UUID
    typed: str
    verdict: Verdict
    is_exact: bool
    candidates: tuple[Candidate, ...]
    next_nearest: Nearest | None

    def as_json(self) -> dict[str, Any]:
        """The check as the API gives it. Marks count code points of ``typed`` and of the name shown."""
        nearest = self.next_nearest
        return {
            "verdict": self.verdict,
            "typed": self.typed,
            "is_exact": self.is_exact,
            "candidates": [self._candidate(candidate) for candidate in self.candidates],
            "next_nearest": nearest and {"name": nearest.name, "distance": nearest.distance},
        }

    def _candidate(self, candidate: Candidate) -> dict[str, Any]:
        picture = candidate.picture
        return {
            "category_id": str(candidate.category_id),
            "name": candidate.name,
            "alias_matched": candidate.alias_matched,
            "count": candidate.count,
            "exemplar_urls": [
                picture_url(self.project_id, image, "thumb") for image in candidate.exemplar_ids
            ],
            "text_distance": candidate.text.distance,
            "text_note": candidate.text.note,
            "picture_distance": picture and picture.distance,
            "usual_limit": picture and picture.usual_limit,
            "marks": {
                "typed": [list(mark) for mark in candidate.marks.typed],
                "other": [list(mark) for mark in candidate.marks.other],
            },
        }


class NameQuestion(Conflict):
    """The name may mean a category in use: somebody has to say. Nothing was stored."""

    code = "name-check"

    def __init__(self, check: NameCheck) -> None:
        super().__init__(
            _QUESTIONS[check.verdict].format(typed=check.typed, name=_first(check)), **check.as_json()
        )
        self.check = check


_QUESTIONS = {
    Verdict.SAME: "“{typed}” is {name}, which exists.",
    Verdict.TYPO: "Did you mean {name}? “{typed}” is nearly the same.",
    Verdict.SYNONYM: "Is it {name}? “{typed}” is another word, but the picture lies where its images lie.",
    Verdict.HOMONYM: "Another {name}? The picture lies far from its images. Give it a name of its own.",
    Verdict.NEW: "“{typed}” is new.",
}


def _first(check: NameCheck) -> str:
    return check.candidates[0].name if check.candidates else ""

"""The queue on the wire.

Answers of claims leave as plain JSON (see ``cards``); their schemas here document them, and the tests
hold the one to the other.
"""

import uuid
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.predictions.flags import Flag
from server.tables import Verdict

AnswerVerdict = Literal[
    Verdict.KNOWN, Verdict.NEW, Verdict.NOT_OF_INTEREST, Verdict.CANNOT_TELL, Verdict.BAD_IMAGE
]


class ClaimIn(BaseModel):
    """``holder`` names a tab or program: claiming again, it gets the image again that it holds."""

    holder: uuid.UUID | None = None


class HoldIn(BaseModel):
    """The token of the hold."""

    token: uuid.UUID


class SkipIn(HoldIn):
    """A skip, with the next image in the same answer if asked."""

    claim_next: bool = False


class SubmitIn(HoldIn):
    """An answer."""

    verdict: AnswerVerdict
    category_id: uuid.UUID | None = Field(None, description="of a KNOWN image")
    name: str | None = Field(None, description="of a NEW category, or an exact name or alias of a KNOWN one")
    different_from: list[uuid.UUID] = Field(
        default_factory=list, max_length=1000, description="seen in the naming check, and another thing"
    )
    remember_misspelling: str | None = Field(None, description="what was typed first: leads here from now on")
    claim_next: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.verdict is Verdict.KNOWN and self.category_id is None and self.name is None:
            raise ValueError("KNOWN needs the category_id or the name of the category.")
        if self.verdict is Verdict.NEW and self.name is None:
            raise ValueError("NEW needs the name of the new category.")
        if self.verdict not in (Verdict.KNOWN, Verdict.NEW) and (self.category_id or self.name):
            raise ValueError(f"{self.verdict} takes no category; answer KNOWN or NEW to name one.")
        return self


class ImageOut(BaseModel):
    """The image to judge."""

    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID
    name: str
    batch_id: uuid.UUID
    batch_name: str
    width: int
    height: int
    thumb_url: str
    display_url: str


class ReasonOut(BaseModel):
    """Why the image is asked: a sentence and the figures behind it."""

    model_config = ConfigDict(extra="allow")

    kind: str
    sentence: str
    nearest_name: str | None
    distance: float | None = None
    usual_limit: float | None = None


class ScoresOut(BaseModel):
    """Present figures of the image. Higher = more unknown or more telling."""

    model_config = ConfigDict(extra="forbid")

    unknown_score: float
    openness: float
    informativeness: float
    free_energy: float
    version_number: int
    memory_revision: int


class SuggestionOut(BaseModel):
    """A category near the image. 95 % of its images lie within ``usual_limit``."""

    model_config = ConfigDict(extra="forbid")

    category_id: uuid.UUID
    name: str
    count: int
    distance: float
    usual_limit: float
    probability: float | None
    exemplar_url: str | None


class TaskOut(BaseModel):
    """A held image."""

    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID
    token: uuid.UUID
    expires_at: datetime
    seconds_left: float
    image: ImageOut
    flag: Flag
    reason: ReasonOut
    scores: ScoresOut | None
    suggestions: list[SuggestionOut] = Field(max_length=5, description="nearest by picture first")


class UpcomingOut(BaseModel):
    """An image that is likely to come next, to be decoded ahead."""

    model_config = ConfigDict(extra="forbid")

    image_id: uuid.UUID
    thumb_url: str
    display_url: str


class ClaimOut(BaseModel):
    """The next image, or null and how many others hold. ``waiting`` stops at 1000: then more wait."""

    model_config = ConfigDict(extra="forbid")

    task: TaskOut | None
    waiting: int
    waiting_is_more: bool
    held_by_others: int
    skipped_again: bool = Field(description="only images that you skipped are left; this is one")
    upcoming: list[UpcomingOut]


class AnsweredCategory(BaseModel):
    """The category of an answer."""

    id: uuid.UUID
    name: str
    created: bool


class SubmitOut(BaseModel):
    """An answer that was stored, or had been before."""

    annotation_id: uuid.UUID
    category: AnsweredCategory | None
    repeated: bool
    next: ClaimOut | None


class SkipOut(BaseModel):
    """The next image, if asked for."""

    next: ClaimOut | None


class HoldOut(BaseModel):
    """Until when the image is held."""

    model_config = ConfigDict(from_attributes=True)

    expires_at: datetime
    seconds_left: float


class UndoneOut(BaseModel):
    """The answer that was withdrawn."""

    annotation_id: uuid.UUID
    verdict: Verdict
    category_name: str | None


class UndoOut(BaseModel):
    """What was withdrawn, and its image, held again."""

    undone: UndoneOut
    task: TaskOut


class QueueOut(BaseModel):
    """Figures of the queue. Days begin at midnight UTC."""

    waiting: int
    new: int
    uncertain: int
    held: int
    labelled_today: int
    mine_today: int


class ErrorOut(BaseModel):
    """An error as every address answers it."""

    error: dict[str, Any]

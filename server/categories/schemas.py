"""What goes in and out of the category endpoints."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from server.addresses import picture_url
from server.categories.service import Bin, CategoryPage, CategorySummary
from server.categories.verdicts import Verdict
from server.tables import AliasKind, CategoryStatus

# What a name may be is said by ``naming.clean``; this only keeps absurd texts out of it.
NameText = Annotated[str, Field(max_length=2000)]
Categories = Annotated[frozenset[uuid.UUID], Field(max_length=100)]


class CategoryIn(BaseModel):
    """A new category; ``different_from`` are those that it was compared with and is not."""

    name: NameText
    different_from: Categories = frozenset()


class CategoryPatch(BaseModel):
    """Another name, another state, or both."""

    name: NameText | None = None
    status: CategoryStatus | None = None


class AliasIn(BaseModel):
    """Another name of a category."""

    name: NameText


class AliasOut(BaseModel):
    """A name that leads to a category too."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    kind: AliasKind


class CategoryOut(BaseModel):
    """A category with its figures. ``live_seconds``: from its first label to its first prediction."""

    id: uuid.UUID
    name: str
    status: CategoryStatus
    aliases: list[AliasOut]
    count: int
    bin: Bin
    waiting: int
    created_at: datetime
    live_at: datetime | None
    first_label_at: datetime | None
    live_seconds: float | None
    exemplar_url: str | None

    @classmethod
    def of(cls, summary: CategorySummary) -> "CategoryOut":
        """The line of one summary."""
        category, exemplar = summary.category, summary.exemplar_id
        return cls(
            id=category.id,
            name=category.name,
            status=category.status,
            aliases=[AliasOut.model_validate(alias) for alias in summary.aliases],
            count=summary.count,
            bin=summary.bin,
            waiting=summary.waiting,
            created_at=category.created_at,
            live_at=category.live_at,
            first_label_at=summary.first_label_at,
            live_seconds=summary.live_seconds,
            exemplar_url=picture_url(category.project_id, exemplar, "thumb") if exemplar else None,
        )


class CategoryPageOut(BaseModel):
    """Some categories, and how many match in all."""

    items: list[CategoryOut]
    total: int

    @classmethod
    def of(cls, page: CategoryPage) -> "CategoryPageOut":
        """The page of one listing."""
        return cls(items=[CategoryOut.of(summary) for summary in page.items], total=page.total)


class NameCheckIn(BaseModel):
    """A name to judge, with the image that it was typed for."""

    name: NameText
    image_id: uuid.UUID | None = None
    different_from: Categories = frozenset()


class MarksOut(BaseModel):
    """Ranges ``[from, to)`` of code points that differ."""

    typed: list[tuple[int, int]]
    other: list[tuple[int, int]]


class CandidateOut(BaseModel):
    """A category that the typed name may mean, with the evidence."""

    category_id: uuid.UUID
    name: str
    alias_matched: str | None
    count: int
    exemplar_urls: list[str]
    text_distance: int
    text_note: str
    picture_distance: float | None
    usual_limit: float | None
    marks: MarksOut


class NearestOut(BaseModel):
    """The nearest category by picture besides the candidates."""

    name: str
    distance: float


class NameCheckOut(BaseModel):
    """What a name would be. ``is_exact``: the first candidate goes by this very name."""

    verdict: Verdict
    typed: str
    is_exact: bool
    candidates: list[CandidateOut]
    next_nearest: NearestOut | None

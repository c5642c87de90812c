"""Categories with their figures, and what lies around one."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from server.categories import queries
from server.categories.naming import key_of
from server.categories.queries import Order
from server.tables import Alias, Category, CategoryStatus, ClassMemoryRow, Project
from server.tables.base import utc_now

NEIGHBOURS = 5


class Bin(StrEnum):
    """Frequency bins of the long tail, by labelled images: at least 100, in between, up to 20, as the
    accuracy of versions is divided (Liu et al. 2019, Table 4)."""

    MANY = "many"
    MEDIUM = "medium"
    FEW = "few"


def bin_of(count: int) -> Bin:
    """The bin of a category with ``count`` labelled images."""
    if count >= 100:
        return Bin.MANY
    return Bin.MEDIUM if count > 20 else Bin.FEW


@dataclass(frozen=True)
class CategorySummary:
    """A category with its figures."""

    category: Category
    count: int
    aliases: tuple[Alias, ...]
    waiting: int
    first_label_at: datetime | None
    exemplar_id: uuid.UUID | None

    @property
    def bin(self) -> Bin:
        """Its place in the long tail."""
        return bin_of(self.count)

    @property
    def live_seconds(self) -> float | None:
        """Seconds from its first label until a prediction could name it; None as long as none can."""
        live_at = self.category.live_at
        if live_at is None or self.first_label_at is None:
            return None
        return max(0.0, (live_at - self.first_label_at).total_seconds())


@dataclass(frozen=True)
class CategoryPage:
    """Some categories, and how many there are in all."""

    items: list[CategorySummary]
    total: int


def list_categories(
    session: Session,
    project: Project,
    *,
    search: str = "",
    status: CategoryStatus | None = None,
    order: Order = Order.COUNT,
    limit: int = 100,
    offset: int = 0,
) -> CategoryPage:
    """Categories with their figures. ``search`` is part of a name or of another name."""
    search_key = key_of(search)
    found = queries.list_with_counts(
        session,
        project.id,
        search_key=search_key,
        status=status,
        order=order,
        limit=limit,
        offset=offset,
    )
    total = queries.count_matching(session, project.id, search_key=search_key, status=status)
    return CategoryPage(_summaries(session, project, found), total)


def summarise(session: Session, project: Project, category: Category) -> CategorySummary:
    """One category with its figures."""
    count = queries.exemplars(session, [category.id], None, 1)[category.id].count
    return _summaries(session, project, [(category, count)])[0]


def list_found_since(
    session: Session, project: Project, *, days: int, limit: int = 20
) -> list[CategorySummary]:
    """Categories that people have named on an image in the last ``days`` days, newest first."""
    since = utc_now() - timedelta(days=days)
    return _summaries(session, project, queries.list_found_since(session, project.id, since, limit))


@dataclass(frozen=True)
class Surroundings:
    """Where a category lies: its images from the most typical on, its usual limit, its neighbours."""

    images: list[tuple[uuid.UUID, float | None]]
    usual_limit: float | None
    neighbours: list[queries.Neighbour]


def look_around(session: Session, project: Project, category: Category, *, images: int = 12) -> Surroundings:
    """The category in the space of the active version; only its images where that has no place for it."""
    version = project.active_version_id
    memory = session.get(ClassMemoryRow, (version, category.id)) if version else None
    return Surroundings(
        images=queries.typical_images(session, category.id, version, images),
        usual_limit=memory.usual_limit if memory else None,
        neighbours=queries.nearest_categories(session, category.id, version, NEIGHBOURS) if version else [],
    )


def list_names(session: Session, project: Project) -> list[tuple[uuid.UUID, str]]:
    """Id and name of every category in use, by name."""
    names = queries.names_in_use(session, project.id)
    own = [(name.category_id, name.name) for name in names if not name.is_alias]
    return sorted(own, key=lambda pair: pair[1].casefold())


def count_by_status(session: Session, project: Project) -> dict[CategoryStatus, int]:
    """How many categories are in each state; states without any are absent."""
    return queries.count_by_status(session, project.id)


def _summaries(
    session: Session, project: Project, found: Sequence[tuple[Category, int]]
) -> list[CategorySummary]:
    ids = [category.id for category, _ in found]
    version = project.active_version_id
    aliases, first = queries.aliases_of(session, ids), queries.first_labels(session, ids)
    waiting = queries.waiting_of(session, project.id, version, ids) if version else {}
    exemplars = queries.exemplars(session, ids, version, 1)
    return [
        CategorySummary(
            category=category,
            count=count,
            aliases=tuple(aliases.get(category.id, ())),
            waiting=waiting.get(category.id, 0),
            first_label_at=first.get(category.id),
            exemplar_id=next(iter(exemplars[category.id].image_ids), None),
        )
        for category, count in found
    ]

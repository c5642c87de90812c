"""SQL on categories, their other names and their places in the visual memory."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import ColumnElement, Float, SQLColumnExpression, cast, func, literal, select, text, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from server.tables import (
    Alias,
    Annotation,
    AnnotationTask,
    Category,
    CategoryStatus,
    ClassMemoryRow,
    Embedding,
    Image,
    Prediction,
    TaskState,
    Verdict,
)


def lock_names(session: Session, project_id: uuid.UUID) -> None:
    """One new name at a time per project, so that two people do not make two like names at once."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"names:{project_id}", 0))))


def find(session: Session, project_id: uuid.UUID, category_id: uuid.UUID) -> Category | None:
    """A category of the project."""
    return session.scalar(
        select(Category).where(Category.id == category_id, Category.project_id == project_id)
    )


def find_by_key(session: Session, project_id: uuid.UUID, key: str) -> Category | None:
    """The category in use with this name, or with this other name."""
    by_alias = select(Alias.category_id).where(Alias.project_id == project_id, Alias.name_key == key)
    return session.scalar(
        select(Category)
        .where(
            Category.project_id == project_id,
            Category.status != CategoryStatus.RETIRED,
            (Category.name_key == key) | Category.id.in_(by_alias),
        )
        # A name goes before another category's alias.
        .order_by((Category.name_key == key).desc())
        .limit(1)
    )


def insert_unless_taken(session: Session, values: dict[str, Any]) -> uuid.UUID | None:
    """Add a category; None where one in use has its name, also if that came at the same moment."""
    return session.scalar(
        insert(Category)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[Category.project_id, Category.name_key],
            # Literal: a statement that psycopg has prepared cannot match the index by a parameter.
            index_where=text("status <> 'RETIRED'"),
        )
        .returning(Category.id)
    )


# --- the naming check ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class NameInUse:
    """A name by which a category goes: its own, or an alias."""

    category_id: uuid.UUID
    name: str
    is_alias: bool


def names_in_use(session: Session, project_id: uuid.UUID) -> list[NameInUse]:
    """Every name and other name of the categories in use."""
    own = select(Category.id, Category.name, literal(False)).where(
        Category.project_id == project_id, Category.status != CategoryStatus.RETIRED
    )
    others = (
        select(Alias.category_id, Alias.name, literal(True))
        .join(Category, Category.id == Alias.category_id)
        .where(Alias.project_id == project_id, Category.status != CategoryStatus.RETIRED)
    )
    return [NameInUse(*row) for row in session.execute(union_all(own, others))]


def picture_distances(
    session: Session, model_version_id: uuid.UUID, image_id: uuid.UUID
) -> dict[uuid.UUID, tuple[float, float]]:
    """``(distance, usual limit)`` of an image to each category of a version; empty if it is not scored."""
    distance = ClassMemoryRow.centroid.op("<->", return_type=Float())(cast(Embedding.vector, VECTOR()))
    rows = session.execute(
        select(ClassMemoryRow.category_id, distance, ClassMemoryRow.usual_limit)
        .join(Embedding, Embedding.model_version_id == ClassMemoryRow.model_version_id)
        .join(Category, Category.id == ClassMemoryRow.category_id)
        .where(
            Embedding.model_version_id == model_version_id,
            Embedding.image_id == image_id,
            Category.status != CategoryStatus.RETIRED,
        )
    )
    return {category_id: (away, limit) for category_id, away, limit in rows}


@dataclass(frozen=True)
class Exemplars:
    """A category's labelled images: how many, and a few of them, the most typical first."""

    name: str
    count: int
    image_ids: tuple[uuid.UUID, ...]


def exemplars(
    session: Session, categories: Sequence[uuid.UUID], model_version_id: uuid.UUID | None, most: int
) -> dict[uuid.UUID, Exemplars]:
    """Name, count and up to ``most`` labelled images of each category."""
    count = select(func.count()).where(Image.category_id == Category.id).scalar_subquery()
    images = (
        select(Image.id)
        .where(Image.category_id == Category.id)
        .order_by(
            (Image.id == ClassMemoryRow.exemplar_image_id).desc().nulls_last(),
            Image.labelled_at.desc(),
            Image.id,
        )
        .limit(most)
        .correlate(Category, ClassMemoryRow)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Category.id, Category.name, count, func.array(images))
        .outerjoin(
            ClassMemoryRow,
            (ClassMemoryRow.category_id == Category.id)
            & (ClassMemoryRow.model_version_id == model_version_id),
        )
        .where(Category.id.in_(categories))
    )
    return {row[0]: Exemplars(row[1], row[2], tuple(row[3])) for row in rows}


def typical_images(
    session: Session, category_id: uuid.UUID, model_version_id: uuid.UUID | None, most: int
) -> list[tuple[uuid.UUID, float | None]]:
    """Labelled images with their distance to the category's centre, nearest first, those without last."""
    distance = ClassMemoryRow.centroid.op("<->", return_type=Float())(cast(Embedding.vector, VECTOR()))
    rows = session.execute(
        select(Image.id, distance.label("distance"))
        .outerjoin(
            Embedding,
            (Embedding.image_id == Image.id) & (Embedding.model_version_id == model_version_id),
        )
        .outerjoin(
            ClassMemoryRow,
            (ClassMemoryRow.category_id == Image.category_id)
            & (ClassMemoryRow.model_version_id == Embedding.model_version_id),
        )
        .where(Image.category_id == category_id)
        .order_by(distance.asc().nulls_last(), Image.id)
        .limit(most)
    )
    return [(image_id, away) for image_id, away in rows]


@dataclass(frozen=True)
class Neighbour:
    """A category near another one, by the distance of their centres."""

    category_id: uuid.UUID
    name: str
    distance: float
    exemplar_id: uuid.UUID | None


def nearest_categories(
    session: Session, category_id: uuid.UUID, model_version_id: uuid.UUID, most: int
) -> list[Neighbour]:
    """The categories whose centres lie nearest to that of ``category_id``."""
    own, other = aliased(ClassMemoryRow), aliased(ClassMemoryRow)
    distance = own.centroid.op("<->", return_type=Float())(other.centroid)
    rows = session.execute(
        select(Category.id, Category.name, distance.label("distance"), other.exemplar_image_id)
        .select_from(own)
        .join(other, (other.model_version_id == own.model_version_id) & (other.category_id != category_id))
        .join(Category, Category.id == other.category_id)
        .where(
            own.model_version_id == model_version_id,
            own.category_id == category_id,
            Category.status != CategoryStatus.RETIRED,
        )
        .order_by(distance, Category.id)
        .limit(most)
    )
    return [Neighbour(*row) for row in rows]


# --- lists ---------------------------------------------------------------------------------------------


class Order(StrEnum):
    """How a list of categories is sorted."""

    COUNT = "count"
    NEWEST = "newest"
    NAME = "name"


def list_with_counts(
    session: Session,
    project_id: uuid.UUID,
    *,
    search_key: str,
    status: CategoryStatus | None,
    order: Order,
    limit: int,
    offset: int,
) -> list[tuple[Category, int]]:
    """Categories with their number of labelled images; ``search_key`` is part of a name or other name."""
    counts = (
        select(Image.category_id, func.count().label("count"))
        .where(Image.project_id == project_id, Image.category_id.is_not(None))
        .group_by(Image.category_id)
        .subquery()
    )
    count = func.coalesce(counts.c.count, 0)
    orders: dict[Order, list[SQLColumnExpression[Any]]] = {
        Order.COUNT: [count.desc(), Category.name_key],
        Order.NEWEST: [Category.created_at.desc()],
        Order.NAME: [Category.name_key],
    }
    query = (
        select(Category, count)
        .outerjoin(counts, counts.c.category_id == Category.id)
        .where(*_matching(project_id, search_key, status))
        .order_by(*orders[order], Category.id)
    )
    return [(category, images) for category, images in session.execute(query.limit(limit).offset(offset))]


def list_found_since(
    session: Session, project_id: uuid.UUID, since: datetime, limit: int
) -> list[tuple[Category, int]]:
    """Categories that people have named on an image since then, newest first, with their labelled images."""
    named = select(Annotation.category_id).where(
        Annotation.project_id == project_id,
        Annotation.created_at >= since,
        Annotation.verdict == Verdict.NEW,
        Annotation.is_current,
    )
    count = select(func.count()).where(Image.category_id == Category.id).scalar_subquery()
    rows = session.execute(
        select(Category, count)
        .where(Category.id.in_(named), Category.status != CategoryStatus.RETIRED)
        .order_by(Category.created_at.desc(), Category.id)
        .limit(limit)
    )
    return [(category, images) for category, images in rows]


def count_matching(
    session: Session, project_id: uuid.UUID, *, search_key: str, status: CategoryStatus | None
) -> int:
    """How many categories ``list_with_counts`` has in all."""
    query = select(func.count(Category.id)).where(*_matching(project_id, search_key, status))
    return session.scalar(query) or 0


def count_by_status(session: Session, project_id: uuid.UUID) -> dict[CategoryStatus, int]:
    """How many categories of the project are in each state."""
    rows = session.execute(
        select(Category.status, func.count())
        .where(Category.project_id == project_id)
        .group_by(Category.status)
    )
    return dict(rows.all())


def _matching(
    project_id: uuid.UUID, search_key: str, status: CategoryStatus | None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Category.project_id == project_id]
    if status is not None:
        conditions.append(Category.status == status)
    if search_key:
        by_alias = select(Alias.category_id).where(
            Alias.project_id == project_id, Alias.name_key.contains(search_key, autoescape=True)
        )
        conditions.append(Category.name_key.contains(search_key, autoescape=True) | Category.id.in_(by_alias))
    return conditions


def aliases_of(session: Session, categories: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Alias]]:
    """The other names of each category, oldest first."""
    rows = session.scalars(
        select(Alias).where(Alias.category_id.in_(categories)).order_by(Alias.created_at, Alias.id)
    )
    found: dict[uuid.UUID, list[Alias]] = {}
    for alias in rows:
        found.setdefault(alias.category_id, []).append(alias)
    return found


def first_labels(session: Session, categories: Iterable[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """When each category was first given to an image."""
    rows = session.execute(
        select(Annotation.category_id, func.min(Annotation.created_at))
        .where(Annotation.category_id.in_(categories))
        .group_by(Annotation.category_id)
    )
    return {category_id: first for category_id, first in rows if category_id is not None}


def waiting_of(
    session: Session, project_id: uuid.UUID, model_version_id: uuid.UUID, categories: Iterable[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """How many queued images look most like each category."""
    rows = session.execute(
        select(Prediction.category_id, func.count())
        .join(AnnotationTask, AnnotationTask.image_id == Prediction.image_id)
        .where(
            AnnotationTask.project_id == project_id,
            AnnotationTask.state == TaskState.OPEN,
            Prediction.model_version_id == model_version_id,
            Prediction.category_id.in_(categories),
        )
        .group_by(Prediction.category_id)
    )
    return {category_id: count for category_id, count in rows if category_id is not None}


# --- other names ---------------------------------------------------------------------------------------


def find_alias(session: Session, project_id: uuid.UUID, alias_id: uuid.UUID) -> Alias | None:
    """An alias of the project."""
    return session.scalar(select(Alias).where(Alias.id == alias_id, Alias.project_id == project_id))


def find_alias_by_key(session: Session, project_id: uuid.UUID, key: str) -> Alias | None:
    """The alias with this normalised form, also of a retired category."""
    return session.scalar(select(Alias).where(Alias.project_id == project_id, Alias.name_key == key))

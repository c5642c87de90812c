"""Rows of model versions and of what they learnt from."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, exists, func, insert, literal, select, union, update
from sqlalchemy.orm import Session

from server.tables import (
    Annotation,
    Category,
    CategoryStatus,
    ClassMemoryRow,
    Image,
    ModelVersion,
    Project,
    SnapshotLabel,
    VersionStatus,
)

RUNNING = (VersionStatus.QUEUED, VersionStatus.TRAINING)
# A judgement commits some time after the moment it is stamped with.
COMMIT_DELAY = timedelta(minutes=1)


def lock_project(session: Session, project_id: uuid.UUID) -> None:
    """Let no other transaction number, start or switch versions of the project until this one ends.

    A lock that rows which refer to the project do not wait for.
    """
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))


def find_locked(session: Session, version_id: uuid.UUID) -> ModelVersion | None:
    """The version as it is in the database now, locked."""
    return session.get(ModelVersion, version_id, with_for_update={"key_share": True}, populate_existing=True)


def find_in_project(session: Session, project_id: uuid.UUID, version_id: uuid.UUID) -> ModelVersion | None:
    """The version, if it is one of the project's."""
    return session.scalars(
        select(ModelVersion).where(ModelVersion.id == version_id, ModelVersion.project_id == project_id)
    ).one_or_none()


def find_running(session: Session, project_id: uuid.UUID) -> ModelVersion | None:
    """The version that waits for training or is being trained."""
    return session.scalars(
        select(ModelVersion).where(ModelVersion.project_id == project_id, ModelVersion.status.in_(RUNNING))
    ).one_or_none()


def find_active(session: Session, project_id: uuid.UUID) -> ModelVersion | None:
    """The version that answers, as it is in the database now."""
    return session.scalars(
        select(ModelVersion)
        .where(ModelVersion.project_id == project_id, ModelVersion.status == VersionStatus.ACTIVE)
        .execution_options(populate_existing=True)
    ).one_or_none()


def outdate_scores(session: Session, project_id: uuid.UUID) -> None:
    """Let the active version's predictions count as out of date.

    Each call gives ``scored_revision`` another value below 0, so that a pass which began before it sees at
    its end that it has been overtaken.
    """
    session.execute(
        update(ModelVersion)
        .where(ModelVersion.project_id == project_id, ModelVersion.status == VersionStatus.ACTIVE)
        .values(scored_revision=func.least(ModelVersion.scored_revision, 0) - 1)
    )


def find_last_trained(session: Session, project_id: uuid.UUID) -> ModelVersion | None:
    """The newest version whose training came to its end."""
    return session.scalars(
        select(ModelVersion)
        .where(ModelVersion.project_id == project_id, ModelVersion.trained_at.is_not(None))
        .order_by(ModelVersion.number.desc())
        .limit(1)
    ).one_or_none()


def list_of_project(
    session: Session, project_id: uuid.UUID, *, offset: int, limit: int
) -> list[ModelVersion]:
    """Versions, newest first."""
    return list(
        session.scalars(
            select(ModelVersion)
            .where(ModelVersion.project_id == project_id)
            .order_by(ModelVersion.number.desc())
            .offset(offset)
            .limit(limit)
        )
    )


def next_number(session: Session, project_id: uuid.UUID) -> int:
    """One above the highest so far; the project must be locked."""
    highest = session.scalar(
        select(func.max(ModelVersion.number)).where(ModelVersion.project_id == project_id)
    )
    return (highest or 0) + 1


def _labels(project_id: uuid.UUID) -> Select[uuid.UUID, uuid.UUID | None]:
    return (
        select(Image.id, Image.category_id)
        .join(Category, Category.id == Image.category_id)
        .where(Image.project_id == project_id, Category.status != CategoryStatus.RETIRED)
    )


@dataclass(frozen=True)
class LabelCounts:
    """How many labelled images there are, and the names of at most two of their categories."""

    images: int
    categories: int
    some_names: list[str]


def count_labels(session: Session, project_id: uuid.UUID) -> LabelCounts:
    """What a training could learn from now."""
    rows = session.execute(
        select(Category.name, func.count())
        .join(Image, Image.category_id == Category.id)
        .where(Image.project_id == project_id, Category.status != CategoryStatus.RETIRED)
        .group_by(Category.id, Category.name)
        .order_by(func.count().desc(), Category.name)
    ).all()
    return LabelCounts(sum(count for _, count in rows), len(rows), [name for name, _ in rows[:2]])


def has_same_labels(session: Session, project_id: uuid.UUID, version_id: uuid.UUID) -> bool:
    """Whether the present labels are exactly those that the version was trained on."""
    now = _labels(project_id)
    then = select(SnapshotLabel.image_id, SnapshotLabel.category_id).where(
        SnapshotLabel.model_version_id == version_id
    )
    return not session.scalar(select(exists(now.except_(then)) | exists(then.except_(now))))


def take_snapshot(session: Session, version: ModelVersion) -> None:
    """Freeze the present labels as those that the version learns from."""
    labels = _labels(version.project_id).add_columns(literal(version.id))
    session.execute(
        insert(SnapshotLabel).from_select(["image_id", "category_id", "model_version_id"], labels)
    )


def list_outdated_categories(session: Session, version: ModelVersion) -> list[uuid.UUID]:
    """Categories whose memory in the version may differ from the present labels.

    Those of judgements since its labels were frozen, and those whose count is not that of its memory.
    """
    judged = select(Annotation.category_id).where(
        Annotation.project_id == version.project_id,
        Annotation.created_at >= version.created_at - COMMIT_DELAY,
        Annotation.category_id.is_not(None),
    )
    now = (
        select(Image.category_id.label("category_id"), func.count().label("count"))
        .where(Image.project_id == version.project_id, Image.category_id.is_not(None))
        .group_by(Image.category_id)
        .subquery()
    )
    memory = (
        select(ClassMemoryRow.category_id, ClassMemoryRow.count)
        .where(ClassMemoryRow.model_version_id == version.id)
        .subquery()
    )
    miscounted = (
        select(func.coalesce(now.c.category_id, memory.c.category_id))
        .select_from(now.join(memory, now.c.category_id == memory.c.category_id, full=True))
        .where(now.c.count.is_distinct_from(memory.c.count))
    )
    return list(session.scalars(union(judged, miscounted)))

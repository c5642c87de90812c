"""SQL of batches, their images and their report."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from server.batches.intake import Stored
from server.predictions.flags import Flag, is_flagged
from server.tables import (
    Batch,
    BatchItem,
    Category,
    Image,
    ItemOutcome,
    Job,
    JobState,
    Prediction,
    User,
)

FLAGS = (Flag.KNOWN, Flag.UNCERTAIN, Flag.NEW)


@dataclass(frozen=True)
class ImageRef:
    """An image of the project, and the upload that first brought it."""

    id: uuid.UUID
    name: str
    batch_id: uuid.UUID
    batch_name: str


def find_batch(session: Session, project_id: uuid.UUID, batch_id: uuid.UUID) -> Batch | None:
    """The batch, if it is one of the project's."""
    return session.scalars(
        select(Batch).where(Batch.id == batch_id, Batch.project_id == project_id)
    ).one_or_none()


def batch_names(
    session: Session, project_id: uuid.UUID, batch_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Names of the project's batches by id."""
    rows = session.execute(
        select(Batch.id, Batch.name).where(Batch.id.in_(batch_ids), Batch.project_id == project_id)
    )
    return dict(rows.all())


def lock_report(session: Session, batch_id: uuid.UUID) -> None:
    """Let one transaction at a time write the batch's report.

    Not the batch's row: the worker that scores it updates that one in another order of locks.
    """
    key = int.from_bytes(batch_id.bytes[8:], "big", signed=True)
    session.execute(select(func.pg_advisory_xact_lock(key)))


def find_image(session: Session, project_id: uuid.UUID, image_id: uuid.UUID) -> Image | None:
    """The image, if it is one of the project's."""
    return session.scalars(
        select(Image).where(Image.id == image_id, Image.project_id == project_id)
    ).one_or_none()


def known_hashes(session: Session, project_id: uuid.UUID, hashes: Collection[str]) -> set[str]:
    """Which of these contents the project has already."""
    return set(
        session.scalars(select(Image.sha256).where(Image.project_id == project_id, Image.sha256.in_(hashes)))
    )


def add_images(session: Session, batch: Batch, pictures: Collection[Stored]) -> set[str]:
    """Add the pictures that the project lacks; returns the hashes of those added.

    In the order of their hashes: two uploads of the same pictures wait for one another, never in a circle.
    """
    rows = {
        picture.sha256: {
            "project_id": batch.project_id,
            "batch_id": batch.id,
            "sha256": picture.sha256,
            "name": picture.name,
            "media_type": picture.media_type,
            "byte_size": picture.byte_size,
            "width": picture.width,
            "height": picture.height,
        }
        for picture in reversed(list(pictures))
    }
    if not rows:
        return set()
    statement = (
        insert(Image).on_conflict_do_nothing(index_elements=["project_id", "sha256"]).returning(Image.sha256)
    )
    return set(session.scalars(statement, [rows[sha256] for sha256 in sorted(rows)]))


def images_by_hash(session: Session, project_id: uuid.UUID, hashes: Collection[str]) -> dict[str, ImageRef]:
    """The project's images with these contents."""
    rows = session.execute(
        select(Image.sha256, Image.id, Image.name, Image.batch_id, Batch.name)
        .join(Batch, Batch.id == Image.batch_id)
        .where(Image.project_id == project_id, Image.sha256.in_(hashes))
    )
    return {
        sha256: ImageRef(image_id, name, batch_id, batch_name)
        for sha256, image_id, name, batch_id, batch_name in rows
    }


def items_by_name(session: Session, batch_id: uuid.UUID, names: Collection[str]) -> dict[str, BatchItem]:
    """Lines of the batch's report under these names."""
    items = session.scalars(
        select(BatchItem).where(BatchItem.batch_id == batch_id, BatchItem.name.in_(names))
    )
    return {item.name: item for item in items}


def list_items(
    session: Session, batch_id: uuid.UUID, outcome: ItemOutcome | None, *, offset: int, limit: int
) -> Sequence[BatchItem]:
    """Lines of the report by name."""
    statement = select(BatchItem).where(BatchItem.batch_id == batch_id)
    if outcome is not None:
        statement = statement.where(BatchItem.outcome == outcome)
    return session.scalars(statement.order_by(BatchItem.name, BatchItem.id).offset(offset).limit(limit)).all()


def list_batches(session: Session, project_id: uuid.UUID, *, offset: int, limit: int) -> Sequence[Batch]:
    """Batches of the project, newest first."""
    return session.scalars(
        select(Batch)
        .where(Batch.project_id == project_id)
        .order_by(Batch.created_at.desc(), Batch.id)
        .offset(offset)
        .limit(limit)
    ).all()


def outcome_counts(
    session: Session, batch_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, dict[ItemOutcome, int]]:
    """Number of files by outcome, by batch."""
    counts: dict[uuid.UUID, dict[ItemOutcome, int]] = {batch_id: {} for batch_id in batch_ids}
    rows = session.execute(
        select(BatchItem.batch_id, BatchItem.outcome, func.count())
        .where(BatchItem.batch_id.in_(batch_ids))
        .group_by(BatchItem.batch_id, BatchItem.outcome)
    )
    for batch_id, outcome, count in rows:
        counts[batch_id][outcome] = count
    return counts


def user_names(session: Session, user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Names of people by id."""
    rows = session.execute(select(User.id, User.name).where(User.id.in_(user_ids)))
    return dict(rows.all())


def latest_jobs(session: Session, batch_ids: Collection[uuid.UUID]) -> list[Job]:
    """For each batch and kind the latest job if it waits, runs or has failed; oldest first.

    A job that came to its end, or was called off, answers for the failed ones before it.
    """
    later = aliased(Job)
    has_later = exists().where(
        later.target_id == Job.target_id, later.kind == Job.kind, later.created_at > Job.created_at
    )
    shown = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
    return list(
        session.scalars(
            select(Job)
            .where(Job.target_id.in_(batch_ids), Job.state.in_(shown), ~has_later)
            .order_by(Job.created_at)
        )
    )


def known_batches(session: Session, batch_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the batches that are there."""
    return set(session.scalars(select(Batch.id).where(Batch.id.in_(batch_ids))))


def has_unscored(session: Session, version_id: uuid.UUID, batch_id: uuid.UUID) -> bool:
    """Whether a batch has images that a version has not scored."""
    scored = exists().where(Prediction.image_id == Image.id, Prediction.model_version_id == version_id)
    return bool(session.scalar(select(exists().where(Image.batch_id == batch_id, ~scored))))


@dataclass(frozen=True)
class ScoredImage:
    """An image with what the active version says of it."""

    prediction: Prediction
    image: Image


class Order(StrEnum):
    """How results are ordered; both put the most telling first."""

    ENERGY = "energy"
    NEWEST = "newest"


Key = float | datetime


def list_results(
    session: Session,
    version_id: uuid.UUID,
    batch_id: uuid.UUID,
    flag: Flag | None,
    order: Order,
    *,
    category_id: uuid.UUID | None = None,
    after: tuple[Key, uuid.UUID] | None,
    limit: int,
) -> list[ScoredImage]:
    """Images with their prediction, the most telling first, from ``after`` on.

    ``after`` is the key (free energy or time) and the image id of the last row seen.
    """
    key = Image.created_at if order is Order.NEWEST else Prediction.free_energy
    statement = (
        select(Prediction, Image)
        .join(Image, Image.id == Prediction.image_id)
        .where(Prediction.model_version_id == version_id, Prediction.batch_id == batch_id)
        .order_by(key.desc(), Prediction.image_id)
        .limit(limit)
    )
    if flag is not None:
        statement = statement.where(is_flagged(flag, Prediction.unknown_score))
    if category_id is not None:
        statement = statement.where(Prediction.category_id == category_id)
    if after is not None:
        value, image_id = after
        statement = statement.where(or_(key < value, and_(key == value, Prediction.image_id > image_id)))
    return [ScoredImage(*row) for row in session.execute(statement)]


def count_flags(
    session: Session,
    version_id: uuid.UUID,
    batch_ids: Collection[uuid.UUID],
    category_id: uuid.UUID | None = None,
) -> dict[uuid.UUID, dict[Flag, int]]:
    """Number of images by flag, by batch; of all or of those whose most probable category is this one."""
    counts = {batch_id: dict.fromkeys(FLAGS, 0) for batch_id in batch_ids}
    numbers_of = [func.count().filter(is_flagged(flag, Prediction.unknown_score)) for flag in FLAGS]
    statement = (
        select(Prediction.batch_id, *numbers_of)
        .where(Prediction.model_version_id == version_id, Prediction.batch_id.in_(batch_ids))
        .group_by(Prediction.batch_id)
    )
    if category_id is not None:
        statement = statement.where(Prediction.category_id == category_id)
    for batch_id, *numbers in session.execute(statement):
        counts[batch_id] = dict(zip(FLAGS, numbers, strict=True))
    return counts


def find_prediction(session: Session, version_id: uuid.UUID, image_id: uuid.UUID) -> Prediction | None:
    """What the version says of the image."""
    return session.get(Prediction, (version_id, image_id))


def count_images(session: Session, batch_id: uuid.UUID) -> int:
    """Number of images that this batch was the first to bring."""
    return session.scalars(select(func.count()).select_from(Image).where(Image.batch_id == batch_id)).one()


def category_names(session: Session, category_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Names of categories by id."""
    rows = session.execute(select(Category.id, Category.name).where(Category.id.in_(category_ids)))
    return dict(rows.all())

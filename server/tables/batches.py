"""Uploads, the images that they brought, and the report on each file."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.annotations import Verdict
from server.tables.base import Base, CreatedAt, Id, OptionalUserId, ProjectId, text_enum


class BatchKind(StrEnum):
    """Images to explore, or images whose folder names their category."""

    UNLABELLED = "UNLABELLED"
    LABELLED = "LABELLED"


class BatchStatus(StrEnum):
    """RECEIVED: files are known; SCORED: every image has its scores; FAILED: see the job's error."""

    RECEIVED = "RECEIVED"
    SCORED = "SCORED"
    FAILED = "FAILED"


class ItemOutcome(StrEnum):
    """What became of one file."""

    STORED = "STORED"
    DUPLICATE = "DUPLICATE"
    REFUSED = "REFUSED"


class Batch(Base):
    """One act of adding images."""

    __tablename__ = "batches"
    __table_args__ = (Index(None, "project_id", "created_at"),)

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    name: Mapped[str]
    kind: Mapped[BatchKind] = mapped_column(text_enum(BatchKind))
    status: Mapped[BatchStatus] = mapped_column(text_enum(BatchStatus), default=BatchStatus.RECEIVED)
    created_by: Mapped[OptionalUserId]
    created_at: Mapped[CreatedAt]


class Image(Base):
    """A picture of a project, stored once under the hash of its bytes.

    ``verdict`` and ``category_id`` hold its present label: derived from the annotations in the same
    transaction, so that training and memory need not replay the journal.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        Index("ix_images_category_id", "category_id", postgresql_where=text("category_id IS NOT NULL")),
        Index("ix_images_batch_id", "batch_id", "id"),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    batch_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), comment="the batch that first brought it"
    )
    sha256: Mapped[str] = mapped_column(comment="of the original bytes, hex")
    name: Mapped[str] = mapped_column(comment="path as first given")
    media_type: Mapped[str]
    byte_size: Mapped[int]
    width: Mapped[int] = mapped_column(comment="px, upright")
    height: Mapped[int] = mapped_column(comment="px, upright")
    created_at: Mapped[CreatedAt]
    verdict: Mapped[Verdict | None] = mapped_column(text_enum(Verdict))
    category_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("categories.id"))
    labelled_at: Mapped[datetime | None]


class BatchItem(Base):
    """The report on one file of a batch."""

    __tablename__ = "batch_items"
    __table_args__ = (
        UniqueConstraint("batch_id", "name"),
        Index("ix_batch_items_image_id", "image_id"),
    )

    id: Mapped[Id]
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(comment="path as the user sees it, with / between folders")
    outcome: Mapped[ItemOutcome] = mapped_column(text_enum(ItemOutcome))
    image_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    code: Mapped[str | None] = mapped_column(comment="why refused, or what was noticed")
    message: Mapped[str | None] = mapped_column(comment="the same for people, with the mend")
    notes: Mapped[list[Any]] = mapped_column(default=list, comment="for example extra-frames")
    byte_size: Mapped[int]
    created_at: Mapped[CreatedAt]

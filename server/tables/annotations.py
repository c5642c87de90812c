"""Requests for a human judgement, and the judgements, which are never overwritten."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, OptionalUserId, ProjectId, UserId, text_enum


class TaskState(StrEnum):
    """OPEN waits, LEASED is held by somebody, DONE has its judgement."""

    OPEN = "OPEN"
    LEASED = "LEASED"
    DONE = "DONE"


class Verdict(StrEnum):
    """What a person says of an image. CONFLICT is derived: sources disagree, nobody has settled it."""

    KNOWN = "KNOWN"
    NEW = "NEW"
    NOT_OF_INTEREST = "NOT_OF_INTEREST"
    CANNOT_TELL = "CANNOT_TELL"
    BAD_IMAGE = "BAD_IMAGE"
    CONFLICT = "CONFLICT"


class LabelSource(StrEnum):
    """Where a label came from."""

    HUMAN = "HUMAN"
    IMPORTED = "IMPORTED"


class AnnotationTask(Base):
    """An image that waits for a person, with its place in the queue and the reason for it."""

    __tablename__ = "annotation_tasks"
    __table_args__ = (
        UniqueConstraint("image_id"),
        # The order in which images are served; claim_next reads its head.
        Index(
            "ix_annotation_tasks_queue",
            "project_id",
            text("priority DESC"),
            "id",
            postgresql_where=text("state = 'OPEN'"),
        ),
        Index(
            "ix_annotation_tasks_leases",
            "project_id",
            "lease_expires_at",
            postgresql_where=text("state = 'LEASED'"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    state: Mapped[TaskState] = mapped_column(text_enum(TaskState), default=TaskState.OPEN)
    priority: Mapped[float]
    is_control: Mapped[bool] = mapped_column(default=False, comment="queued at random, to measure the gain")
    reason: Mapped[dict[str, Any]] = mapped_column(comment="the figures behind the priority")
    lease_owner_id: Mapped[OptionalUserId]
    lease_holder: Mapped[uuid.UUID | None] = mapped_column(
        comment="the tab or program that holds it; the same holder claiming again gets the same image"
    )
    lease_token: Mapped[uuid.UUID | None]
    lease_expires_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    done_at: Mapped[datetime | None]


class TaskSkip(Base):
    """A person passed this image on; it is offered to others first."""

    __tablename__ = "task_skips"

    task_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("annotation_tasks.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    created_at: Mapped[CreatedAt]


class Annotation(Base):
    """One judgement, or the withdrawal of one. Rows are only ever added."""

    __tablename__ = "annotations"
    __table_args__ = (
        Index(None, "image_id", "created_at"),
        Index(None, "project_id", "created_at"),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    task_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("annotation_tasks.id", ondelete="SET NULL"), index=True
    )
    annotator_id: Mapped[OptionalUserId]
    source: Mapped[LabelSource] = mapped_column(text_enum(LabelSource))
    verdict: Mapped[Verdict | None] = mapped_column(text_enum(Verdict), comment="null: a withdrawal")
    category_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("categories.id"), index=True)
    withdraws_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("annotations.id"), unique=True)
    is_current: Mapped[bool] = mapped_column(
        default=True, comment="counts towards the image's label; false: late, second opinion"
    )
    lease_token: Mapped[uuid.UUID | None] = mapped_column(
        unique=True, comment="the hold under which it was sent; a repeated send finds it"
    )
    created_at: Mapped[CreatedAt]

"""Background work as people see it: what runs, how far it is, what went wrong."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, ProjectId, text_enum


class JobKind(StrEnum):
    """Kinds of long work."""

    INGEST = "INGEST"
    SCORE = "SCORE"
    TRAIN = "TRAIN"


class JobState(StrEnum):
    """Life of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Job(Base):
    """One piece of long work. A running job without a heartbeat for a while is sent again."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "project_id", "created_at"),
        Index("ix_jobs_unfinished", "kind", postgresql_where=text("state IN ('QUEUED', 'RUNNING')")),
        # One unfinished job per kind and target: asking twice is asking once.
        Index(
            "uq_jobs_unfinished_target",
            "kind",
            "target_id",
            unique=True,
            postgresql_where=text("state IN ('QUEUED', 'RUNNING')"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    kind: Mapped[JobKind] = mapped_column(text_enum(JobKind))
    target_id: Mapped[uuid.UUID] = mapped_column(comment="batch or model version, by kind")
    state: Mapped[JobState] = mapped_column(text_enum(JobState), default=JobState.QUEUED)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0, comment="starts; a job that kills its worker stops at 5")
    error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

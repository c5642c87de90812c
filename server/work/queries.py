"""Reading and locking of job rows."""

import uuid
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from server.tables import Job, JobKind, JobState

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


def insert_unless_unfinished(
    session: Session, kind: JobKind, project_id: uuid.UUID, target_id: uuid.UUID
) -> None:
    """Add a queued job, or do nothing where an unfinished one of this kind and target exists."""
    statement = insert(Job).values(kind=kind, project_id=project_id, target_id=target_id)
    session.execute(
        statement.on_conflict_do_nothing(
            index_elements=[Job.kind, Job.target_id],
            # Literal: a statement that psycopg has prepared cannot match the index by a parameter.
            index_where=text("state IN ('QUEUED', 'RUNNING')"),
        )
    )


def find_unfinished(session: Session, kind: JobKind, target_id: uuid.UUID, *, lock: bool) -> Job | None:
    """The unfinished job of this kind and target, as it is in the database now."""
    statement = select(Job).where(Job.kind == kind, Job.target_id == target_id, Job.state.in_(UNFINISHED))
    if lock:
        statement = statement.with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def list_stale(session: Session, before: datetime) -> list[Job]:
    """Unfinished jobs without a sign of life since ``before``, oldest first, less those locked elsewhere."""
    statement = (
        select(Job)
        .where(Job.state.in_(UNFINISHED), func.coalesce(Job.heartbeat_at, Job.created_at) < before)
        .order_by(Job.created_at)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(statement))


def list_of_project(
    session: Session, project_id: uuid.UUID, *, unfinished_only: bool, limit: int
) -> list[Job]:
    """Jobs of a project, newest first."""
    statement = select(Job).where(Job.project_id == project_id)
    if unfinished_only:
        statement = statement.where(Job.state.in_(UNFINISHED))
    return list(session.scalars(statement.order_by(Job.created_at.desc(), Job.id).limit(limit)))

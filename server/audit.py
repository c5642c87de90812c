"""Writes who did what. Rows are only ever added, in the transaction of the act itself."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.tables import AuditEntry, User


def record(
    session: Session,
    action: str,
    *,
    user_id: uuid.UUID | None,
    project_id: uuid.UUID | None = None,
    subject_id: uuid.UUID | None = None,
    **details: Any,
) -> None:
    """Add an entry. ``action`` is in the past tense, for example ``category.renamed``."""
    session.add(
        AuditEntry(
            project_id=project_id, user_id=user_id, action=action, subject_id=subject_id, details=details
        )
    )


@dataclass(frozen=True)
class Entry:
    """An act with the name of who did it; None stands for the service itself."""

    entry: AuditEntry
    user_name: str | None


def list_entries(
    session: Session, project_id: uuid.UUID, *, subject_id: uuid.UUID | None = None, limit: int = 50
) -> list[Entry]:
    """The latest acts in a project, or on one subject of it, newest first."""
    query = (
        select(AuditEntry, User.name)
        .outerjoin(User, User.id == AuditEntry.user_id)
        .where(AuditEntry.project_id == project_id)
        .order_by(AuditEntry.created_at.desc(), AuditEntry.id)
        .limit(limit)
    )
    if subject_id is not None:
        query = query.where(AuditEntry.subject_id == subject_id)
    return [Entry(entry, name) for entry, name in session.execute(query)]

"""SQL on projects, their members and the figures of the project list."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, distinct, func, select
from sqlalchemy.orm import Session, contains_eager

from server.permissions import Role
from server.tables import (
    Annotation,
    AnnotationTask,
    Category,
    CategoryStatus,
    Image,
    Membership,
    ModelVersion,
    Project,
    TaskState,
    User,
    Verdict,
)

_WITH_ROLE = select(Project, Membership.role).outerjoin(
    Membership, (Membership.project_id == Project.id) & (Membership.user_id == bindparam("user_id"))
)
# Put together once: every request to a project asks this.
_ONE_WITH_ROLE = _WITH_ROLE.where(Project.id == bindparam("project_id"))


def find_with_role(
    session: Session, project_id: uuid.UUID, user_id: uuid.UUID
) -> tuple[Project, Role | None] | None:
    """A project with the user's role in it."""
    row = session.execute(_ONE_WITH_ROLE, {"user_id": user_id, "project_id": project_id}).one_or_none()
    return (row[0], row[1]) if row else None


def list_with_role(
    session: Session, user_id: uuid.UUID, *, everything: bool, limit: int, offset: int
) -> list[tuple[Project, Role | None]]:
    """Projects that the user is a member of, or all, newest first."""
    query = _WITH_ROLE.order_by(Project.created_at.desc(), Project.id).limit(limit).offset(offset)
    if not everything:
        query = query.where(Membership.role.is_not(None))
    return [(project, role) for project, role in session.execute(query, {"user_id": user_id})]


def list_members(session: Session, project_id: uuid.UUID) -> Sequence[Membership]:
    """Members with their users, by name."""
    return session.scalars(
        select(Membership)
        .join(Membership.user)
        .options(contains_eager(Membership.user))
        .where(Membership.project_id == project_id)
        .order_by(func.lower(User.name), User.id)
    ).all()


def find_member(session: Session, project_id: uuid.UUID, user_id: uuid.UUID) -> Membership | None:
    """One membership."""
    return session.get(Membership, (project_id, user_id))


def lock_members(session: Session, project_id: uuid.UUID) -> None:
    """One change of members at a time, so that two owners cannot remove each other."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())


def count_owners(session: Session, project_id: uuid.UUID) -> int:
    """How many owners the project has."""
    query = select(func.count()).where(Membership.project_id == project_id, Membership.role == Role.OWNER)
    return session.scalar(query) or 0


Figures = dict[uuid.UUID, Any]


def count_waiting(session: Session, projects: Sequence[uuid.UUID]) -> Figures:
    """Images that wait for a person or are being looked at, by project."""
    query = select(AnnotationTask.project_id, func.count()).where(
        AnnotationTask.project_id.in_(projects), AnnotationTask.state != TaskState.DONE
    )
    return _by_project(session.execute(query.group_by(AnnotationTask.project_id)).all())


def count_images(session: Session, projects: Sequence[uuid.UUID]) -> Figures:
    """Stored images by project."""
    query = select(Image.project_id, func.count()).where(Image.project_id.in_(projects))
    return _by_project(session.execute(query.group_by(Image.project_id)).all())


def count_categories(session: Session, projects: Sequence[uuid.UUID]) -> Figures:
    """Categories in use by project."""
    query = select(Category.project_id, func.count()).where(
        Category.project_id.in_(projects), Category.status != CategoryStatus.RETIRED
    )
    return _by_project(session.execute(query.group_by(Category.project_id)).all())


def count_found(session: Session, projects: Sequence[uuid.UUID], since: datetime) -> Figures:
    """Categories that people have named on an image since then, by project."""
    query = select(Annotation.project_id, func.count(distinct(Annotation.category_id))).where(
        Annotation.project_id.in_(projects),
        Annotation.created_at >= since,
        Annotation.verdict == Verdict.NEW,
        Annotation.is_current,
    )
    return _by_project(session.execute(query.group_by(Annotation.project_id)).all())


def last_labels(session: Session, projects: Sequence[uuid.UUID]) -> Figures:
    """When each project got its latest judgement."""
    query = select(Annotation.project_id, func.max(Annotation.created_at)).where(
        Annotation.project_id.in_(projects)
    )
    return _by_project(session.execute(query.group_by(Annotation.project_id)).all())


def active_numbers(session: Session, projects: Sequence[uuid.UUID]) -> Figures:
    """Number of the active model version by project."""
    query = (
        select(Project.id, ModelVersion.number)
        .join(ModelVersion, ModelVersion.id == Project.active_version_id)
        .where(Project.id.in_(projects))
    )
    return _by_project(session.execute(query).all())


def _by_project(rows: Iterable[Any]) -> Figures:
    return {row[0]: row[1] for row in rows}

"""Projects and who may do what in them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from server import audit
from server.accounts.queries import find_user_by_email
from server.errors import Conflict, InvalidInput, NotFound, NotPermitted
from server.model_versions import service as versions
from server.permissions import ROLE_PERMISSIONS, Permission, Role
from server.projects import queries
from server.tables import Membership, Project, User
from server.tables.base import utc_now

MAX_NAME = 200
QUEUE_SETTINGS = frozenset({"strategy", "gate", "round_size", "control_share", "temperature"})


@dataclass(frozen=True)
class ProjectSummary:
    """A line of the project list: the project, one's part in it, and what waits."""

    project: Project
    role: Role
    waiting: int
    images: int
    categories: int
    found_this_week: int
    active_version: int | None
    last_label_at: datetime | None


def get_for(
    session: Session, user: User, project_id: uuid.UUID, permission: Permission
) -> tuple[Project, frozenset[Permission]]:
    """A project with what the user may do in it. Site admins are owners everywhere.

    Raises:
        NotFound: no such project, or not one of the user's; the two look alike on purpose.
        NotPermitted: the user's role lacks ``permission``.
    """
    found = queries.find_with_role(session, project_id, user.id)
    role = found and _role_of(user, found[1])
    if found is None or role is None:
        raise NotFound("There is no such project, or you are not a member of it.")
    permissions = ROLE_PERMISSIONS[role]
    if permission not in permissions:
        raise NotPermitted(
            f"Your role in this project is {role.lower()}; it does not allow this. Ask an owner.",
            role=role,
            permission=permission,
        )
    return found[0], permissions


def permissions_in(session: Session, user: User, project_id: uuid.UUID) -> frozenset[Permission]:
    """What the user may do in a project; nothing where it is not one of theirs."""
    found = queries.find_with_role(session, project_id, user.id)
    role = found and _role_of(user, found[1])
    return ROLE_PERMISSIONS[role] if role else frozenset()


def list_for(session: Session, user: User, *, limit: int = 100, offset: int = 0) -> list[ProjectSummary]:
    """The user's projects with their figures, newest first; an admin sees all."""
    found = queries.list_with_role(session, user.id, everything=user.is_admin, limit=limit, offset=offset)
    ids = [project.id for project, _ in found]
    waiting, images = queries.count_waiting(session, ids), queries.count_images(session, ids)
    categories = queries.count_categories(session, ids)
    week = queries.count_found(session, ids, utc_now() - timedelta(days=7))
    versions, labels = queries.active_numbers(session, ids), queries.last_labels(session, ids)
    return [
        ProjectSummary(
            project=project,
            role=Role.OWNER if user.is_admin or role is None else role,
            waiting=waiting.get(project.id, 0),
            images=images.get(project.id, 0),
            categories=categories.get(project.id, 0),
            found_this_week=week.get(project.id, 0),
            active_version=versions.get(project.id),
            last_label_at=labels.get(project.id),
        )
        for project, role in found
    ]


def count_for_navigation(session: Session, project_id: uuid.UUID) -> tuple[int, int]:
    """What every page of a project shows: images that wait for a person, categories in use."""
    ids = [project_id]
    waiting, categories = queries.count_waiting(session, ids), queries.count_categories(session, ids)
    return waiting.get(project_id, 0), categories.get(project_id, 0)


def create(session: Session, user: User, name: str, **fields: Any) -> Project:
    """Start a project; its maker becomes its owner. ``fields`` are columns of ``Project``.

    Raises:
        InvalidInput: no name.
    """
    project = Project(name=_valid_name(name), created_by=user.id, **fields)
    session.add(project)
    session.flush()
    session.add(Membership(project_id=project.id, user_id=user.id, role=Role.OWNER))
    session.flush()
    audit.record(session, "project.created", user_id=user.id, project_id=project.id, name=project.name)
    return project


def update(session: Session, user: User, project: Project, changes: dict[str, Any]) -> Project:
    """Change fields of a project. A change of the queue's rules has the queue ordered anew."""
    if "name" in changes:
        changes = {**changes, "name": _valid_name(changes["name"])}
    before = {name: getattr(project, name) for name in changes}
    changed = {name: value for name, value in changes.items() if value != before[name]}
    if not changed:
        return project
    for name, value in changed.items():
        setattr(project, name, value)
    session.flush()
    audit.record(
        session,
        "project.changed",
        user_id=user.id,
        project_id=project.id,
        before={name: before[name] for name in changed},
        after=changed,
    )
    if QUEUE_SETTINGS & changed.keys():
        versions.request_rescore(session, project.id)
    return project


def list_members(session: Session, project: Project) -> Sequence[Membership]:
    """Members of a project by name, each with its ``user``."""
    return queries.list_members(session, project.id)


def set_member(session: Session, user: User, project: Project, email: str, role: Role) -> User:
    """Take a person with an account into the project, or give a member another role; returns the person.

    Raises:
        NotFound: nobody has this address.
        NotPermitted: it is one's own role.
        Conflict: the last owner would be gone.
    """
    person = find_user_by_email(session, email.strip())
    if person is None or person.disabled_at is not None:
        raise NotFound(f"There is no account for {email.strip()}. An admin of this service can make one.")
    if person.id == user.id:
        raise NotPermitted("Nobody changes their own role. Ask another owner.")
    queries.lock_members(session, project.id)
    member = queries.find_member(session, project.id, person.id)
    former = member.role if member else None
    if member is None:
        member = Membership(project_id=project.id, user_id=person.id, role=role)
        session.add(member)
    else:
        if role is not Role.OWNER:
            _keep_an_owner(session, member)
        member.role = role
    session.flush()
    if former is not role:
        _record_role(session, user, project, person.id, former, role)
    return person


def remove_member(session: Session, user: User, project: Project, user_id: uuid.UUID) -> None:
    """Take a person out of the project; oneself too.

    Raises:
        NotFound: no such member.
        Conflict: it is the last owner.
    """
    queries.lock_members(session, project.id)
    member = queries.find_member(session, project.id, user_id)
    if member is None:
        raise NotFound("There is no such member in this project.")
    _keep_an_owner(session, member)
    former = member.role
    session.delete(member)
    session.flush()
    _record_role(session, user, project, user_id, former, None)


def _role_of(user: User, role: Role | None) -> Role | None:
    return Role.OWNER if user.is_admin else role


def _keep_an_owner(session: Session, member: Membership) -> None:
    if member.role is Role.OWNER and queries.count_owners(session, member.project_id) == 1:
        raise Conflict(
            "This is the project's last owner. Make somebody else an owner first.", code="last-owner"
        )


def _record_role(
    session: Session, user: User, project: Project, person: uuid.UUID, before: Role | None, after: Role | None
) -> None:
    audit.record(
        session,
        "member.changed",
        user_id=user.id,
        project_id=project.id,
        subject_id=person,
        before=before,
        after=after,
    )


def _valid_name(name: str | None) -> str:
    name = " ".join((name or "").split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"Name: give the project a name of 1 to {MAX_NAME} characters.")
    return name

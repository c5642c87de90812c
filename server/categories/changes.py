"""Changes of a category: its name, its other names, its status."""

import uuid

from sqlalchemy.orm import Session

from server import audit, jobs
from server.categories import queries
from server.categories.finding import find_by_name, get
from server.categories.naming import clean, key_of
from server.errors import Conflict, InvalidInput, NotFound
from server.tables import Alias, AliasKind, Category, CategoryStatus, Project, User


def rename(session: Session, user: User, category: Category, name: str) -> Category:
    """Give a category another name. Its labels follow; the old name stays as an alias.

    Raises:
        Conflict: another category in use goes by that name.
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    queries.lock_names(session, category.project_id)
    _refuse_taken(session, category, shown)
    before, former_key = category.name, category.name_key
    if shown == before:
        return category
    category.name, category.name_key = shown, key_of(shown)
    if category.name_key != former_key:
        own = queries.find_alias_by_key(session, category.project_id, category.name_key)
        if own is not None:
            session.delete(own)
        session.flush()
        _insert_alias(session, user, category, before, AliasKind.ALIAS)
    session.flush()
    record(session, "category.renamed", user, category, before=before, after=shown)
    return category


def add_alias(
    session: Session, user: User, category: Category, name: str, kind: AliasKind = AliasKind.ALIAS
) -> Alias:
    """Let a category go by another name too.

    Raises:
        Conflict: a category in use goes by that name already.
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    queries.lock_names(session, category.project_id)
    _refuse_taken(session, category, shown)
    if queries.find_by_key(session, category.project_id, key_of(shown)) is not None:
        raise Conflict(f"{category.name} goes by “{shown}” already.", code="name-taken")
    alias = _insert_alias(session, user, category, shown, kind)
    record(session, "category.alias_added", user, category, name=shown, kind=kind)
    return alias


def remember_misspelling(
    session: Session, project: Project, user: User, category: Category, name: str
) -> None:
    """Keep a slip of the keyboard, so that it is not asked about again; no name in use is touched.

    Raises:
        InvalidInput: the text cannot be a name.
    """
    if find_by_name(session, project.id, name) is None:
        add_alias(session, user, category, name, AliasKind.MISSPELLING)


def remove_alias(session: Session, user: User, project_id: uuid.UUID, alias_id: uuid.UUID) -> None:
    """Take another name away.

    Raises:
        NotFound: the project has no such alias.
    """
    alias = queries.find_alias(session, project_id, alias_id)
    if alias is None:
        raise NotFound("There is no such alias in this project.")
    category = get(session, project_id, alias.category_id)
    session.delete(alias)
    session.flush()
    record(session, "category.alias_removed", user, category, name=alias.name)


def set_status(session: Session, user: User, category: Category, status: CategoryStatus) -> Category:
    """Confirm a proposed category, retire one (predictions no longer answer it), or take it back.

    Raises:
        InvalidInput: a category cannot go back to being proposed.
        Conflict: its name has been taken by another since it was retired.
    """
    if status is category.status:
        return category
    if status is CategoryStatus.PROPOSED:
        raise InvalidInput("A category cannot be made a proposal again. Retire it instead.")
    queries.lock_names(session, category.project_id)
    if category.status is CategoryStatus.RETIRED:
        _refuse_taken(session, category, category.name)
    before, category.status = category.status, status
    session.flush()
    record(session, f"category.{_ACTS[status]}", user, category, before=before)
    if CategoryStatus.RETIRED in (before, status):
        jobs.enqueue(session, jobs.UPDATE_MEMORY, str(category.project_id), str(category.id))
    return category


_ACTS = {CategoryStatus.ACTIVE: "confirmed", CategoryStatus.RETIRED: "retired"}


def _refuse_taken(session: Session, category: Category, shown: str) -> None:
    other = queries.find_by_key(session, category.project_id, key_of(shown))
    if other is not None and other.id != category.id:
        raise Conflict(
            f"“{shown}” is in use for {other.name}. Choose another name.",
            code="name-taken",
            category_id=other.id,
            name=other.name,
        )


def _insert_alias(session: Session, user: User, category: Category, shown: str, kind: AliasKind) -> Alias:
    # A retired category keeps its aliases until somebody else needs the name.
    stale = queries.find_alias_by_key(session, category.project_id, key_of(shown))
    if stale is not None:
        session.delete(stale)
        session.flush()
    alias = Alias(
        project_id=category.project_id,
        category_id=category.id,
        name=shown,
        name_key=key_of(shown),
        kind=kind,
        created_by=user.id,
    )
    session.add(alias)
    session.flush()
    return alias


def record(session: Session, action: str, user: User, category: Category, **details: object) -> None:
    """Note what somebody did with a category."""
    audit.record(
        session,
        action,
        user_id=user.id,
        project_id=category.project_id,
        subject_id=category.id,
        **details,
    )

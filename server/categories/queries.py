"""SQL on categories, their other names and their places in the visual memory."""

import uuid
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from server.tables import Alias, Category, CategoryStatus


def lock_names(session: Session, project_id: uuid.UUID) -> None:
    """One new name at a time per project, so that two people do not make two like names at once."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"names:{project_id}", 0))))


def find_by_key(session: Session, project_id: uuid.UUID, key: str) -> Category | None:
    """The category in use with this name, or with this other name."""
    by_alias = select(Alias.category_id).where(Alias.project_id == project_id, Alias.name_key == key)
    found = session.scalars(
        select(Category)
        .where(
            Category.project_id == project_id,
            Category.status != CategoryStatus.RETIRED,
            (Category.name_key == key) | Category.id.in_(by_alias),
        )
        # A name goes before another category's alias.
        .order_by((Category.name_key == key).desc())
        .limit(1)
    )
    return found.one_or_none()


def insert_unless_taken(session: Session, values: dict[str, Any]) -> uuid.UUID | None:
    """Add a category; None where one in use has its name, also if that came at the same moment."""
    return session.scalar(
        insert(Category)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[Category.project_id, Category.name_key],
            index_where=Category.status != CategoryStatus.RETIRED,
        )
        .returning(Category.id)
    )

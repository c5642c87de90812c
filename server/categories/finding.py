"""One category of a project, by its id or by one of its names."""

import uuid

from sqlalchemy.orm import Session

from server.categories import queries
from server.categories.naming import key_of
from server.errors import NotFound
from server.tables import Category


def get(session: Session, project_id: uuid.UUID, category_id: uuid.UUID) -> Category:
    """A category of the project.

    Raises:
        NotFound: the project has no such category.
    """
    category = queries.find(session, project_id, category_id)
    if category is None:
        raise NotFound("There is no such category in this project.")
    return category


def find_by_name(session: Session, project_id: uuid.UUID, name: str) -> Category | None:
    """The category in use that goes by this name or other name, whatever its case and spaces."""
    return queries.find_by_key(session, project_id, key_of(name))

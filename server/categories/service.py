"""Categories, their names and other names, and the check before a new name is made."""

import uuid

from sqlalchemy.orm import Session

from server.categories import queries
from server.categories.naming import clean, key_of
from server.tables import Category, CategoryStatus
from server.tables.base import utc_now


def find_or_create(
    session: Session,
    project_id: uuid.UUID,
    name: str,
    created_by: uuid.UUID | None,
    *,
    status: CategoryStatus = CategoryStatus.ACTIVE,
) -> Category:
    """The category that goes by ``name``, made if there is none. For imports, where nobody can be asked.

    Safe when several ask at once. Callers that ask for several names do so in sorted order.

    Raises:
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    while True:
        category = queries.find_by_key(session, project_id, key_of(shown))
        if category is not None:
            return category
        queries.insert_unless_taken(session, _values(project_id, shown, created_by, status))


def _values(
    project_id: uuid.UUID, shown: str, created_by: uuid.UUID | None, status: CategoryStatus
) -> dict[str, object]:
    return {
        "id": uuid.uuid4(),
        "project_id": project_id,
        "name": shown,
        "name_key": key_of(shown),
        "status": status,
        "created_by": created_by,
        "created_at": utc_now(),
    }

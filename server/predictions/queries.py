"""The names of what a model version says."""

import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.tables import Category


def category_names(session: Session, project_id: uuid.UUID, category_ids: Collection[str]) -> dict[str, str]:
    """Present names by category id."""
    if not category_ids:
        return {}
    ids = {uuid.UUID(one) for one in category_ids}
    found = session.execute(
        select(Category.id, Category.name).where(Category.project_id == project_id, Category.id.in_(ids))
    )
    return {str(category_id): name for category_id, name in found}

"""What model versions say of stored images, and the names of what they say."""

import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.tables import Category, ModelVersion, Prediction, VersionStatus


def list_current(
    session: Session, project_id: uuid.UUID, image_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, tuple[Prediction, int]]:
    """Predictions of the active version with its number, by image."""
    found = session.execute(
        select(Prediction, ModelVersion.number)
        .join(ModelVersion, ModelVersion.id == Prediction.model_version_id)
        .where(
            ModelVersion.project_id == project_id,
            ModelVersion.status == VersionStatus.ACTIVE,
            Prediction.image_id.in_(image_ids),
        )
    )
    return {prediction.image_id: (prediction, number) for prediction, number in found}


def category_names(session: Session, project_id: uuid.UUID, category_ids: Collection[str]) -> dict[str, str]:
    """Present names by category id."""
    if not category_ids:
        return {}
    ids = {uuid.UUID(one) for one in category_ids}
    found = session.execute(
        select(Category.id, Category.name).where(Category.project_id == project_id, Category.id.in_(ids))
    )
    return {str(category_id): name for category_id, name in found}

"""Model versions on the wire."""

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from server.tables import VersionStatus
from server.work.schemas import JobOut


class VersionOut(BaseModel):
    """A model version. ``trained_at`` is null for one that has learnt nothing: it only compares."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())

    id: uuid.UUID
    number: int
    status: VersionStatus
    parent_id: uuid.UUID | None
    created_at: datetime
    trained_at: datetime | None
    activated_at: datetime | None
    backbone: str
    trained_images: int
    trained_categories: int
    metrics: dict[str, Any]
    memory_revision: int
    scored_revision: int
    error: str | None


class TrainingOut(BaseModel):
    """A training that was asked for."""

    version: VersionOut
    job: JobOut

"""Jobs on the wire."""

import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from server.tables import JobKind, JobState


class JobOut(BaseModel):
    """A job as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    kind: JobKind
    state: JobState
    done: int
    total: int
    target_id: uuid.UUID
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

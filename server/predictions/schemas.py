"""Predictions on the wire."""

import uuid

from pydantic import BaseModel, ConfigDict, Field

from server.predictions.flags import Flag


class Likely(BaseModel):
    """A category with its probability among the known ones."""

    category_id: uuid.UUID
    name: str
    probability: float


class Near(BaseModel):
    """A category with the image's distance to its centre; 95 % of its images lie within the limit."""

    category_id: uuid.UUID
    name: str
    distance: float
    usual_limit: float


class PictureOut(BaseModel):
    """The upright picture that was looked at."""

    width: int
    height: int
    notes: list[str]


class PredictionOut(BaseModel):
    """What the current model says of an image.

    The figures of a project in which nothing was ever scored are null: all is new there.
    """

    model_config = ConfigDict(protected_namespaces=())

    top: list[Likely]
    nearest: list[Near]
    is_known: bool
    flag: Flag
    unknown_score: float = Field(description="higher = more unknown; known below 0.5")
    openness: float | None
    informativeness: float | None
    free_energy: float | None
    version_number: int | None
    model_version_id: uuid.UUID | None
    memory_revision: int | None
    image: PictureOut

"""What a model version says of an image."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base


class Prediction(Base):
    """One row per version and image, brought up to ``memory_revision`` by re-ranking.

    ``nearest`` lists up to five categories by distance, ``top`` up to five by probability:
    ``[[category_id, value], …]``. Scores are finite, higher = more unknown or more telling.
    """

    __tablename__ = "predictions"
    __table_args__ = (Index(None, "model_version_id", "batch_id", "free_energy"),)

    model_version_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True
    )
    image_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    memory_revision: Mapped[int]
    category_id: Mapped[uuid.UUID | None] = mapped_column(comment="most probable; null without any class")
    confidence: Mapped[float]
    is_known: Mapped[bool]
    unknown_score: Mapped[float] = mapped_column(comment="known < 0.5 ≤ new")
    openness: Mapped[float]
    informativeness: Mapped[float]
    free_energy: Mapped[float]
    top: Mapped[list[Any]]
    nearest: Mapped[list[Any]]

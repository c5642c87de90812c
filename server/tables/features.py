"""Vectors in tables of their own: an update of a priority must not rewrite them."""

import uuid

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base


class Feature(Base):
    """Backbone features of an image, computed once per runtime, weights and preprocessing."""

    __tablename__ = "features"

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    runtime_key: Mapped[str] = mapped_column(primary_key=True)
    vector: Mapped[object] = mapped_column(HALFVEC())


class Embedding(Base):
    """v: an image in the whitened space of a model version, unit norm. All distances are taken here."""

    __tablename__ = "embeddings"

    model_version_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True
    )
    image_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    vector: Mapped[object] = mapped_column(HALFVEC())

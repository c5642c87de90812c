"""Trained versions of a project's model, what they learnt from, and their class memory."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, OptionalUserId, ProjectId, text_enum


class VersionStatus(StrEnum):
    """Life of a version. At most one per project is ACTIVE."""

    QUEUED = "QUEUED"
    TRAINING = "TRAINING"
    CANDIDATE = "CANDIDATE"
    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ModelVersion(Base):
    """A row for each training; the checkpoint lies in ``checkpoints/<id>``."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index(
            "uq_model_versions_active", "project_id", unique=True, postgresql_where=text("status = 'ACTIVE'")
        ),
        Index(
            "uq_model_versions_running",
            "project_id",
            unique=True,
            postgresql_where=text("status IN ('QUEUED', 'TRAINING')"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    number: Mapped[int] = mapped_column(comment="counts up within the project: v1, v2, …")
    status: Mapped[VersionStatus] = mapped_column(text_enum(VersionStatus))
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("model_versions.id", ondelete="SET NULL"))
    created_by: Mapped[OptionalUserId]
    created_at: Mapped[CreatedAt]
    trained_at: Mapped[datetime | None]
    activated_at: Mapped[datetime | None]
    backbone: Mapped[str]
    runtime_key: Mapped[str | None] = mapped_column(comment="which features it reads")
    seed: Mapped[int] = mapped_column(default=0)
    trained_images: Mapped[int] = mapped_column(default=0)
    trained_categories: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict, comment="on held-out labelled images")
    memory_revision: Mapped[int] = mapped_column(
        default=0, comment="counts up with each change of the class memory"
    )
    scored_revision: Mapped[int] = mapped_column(
        default=-1, comment="revision that all predictions have reached; below 0: out of date anyhow"
    )
    error: Mapped[str | None]


class SnapshotLabel(Base):
    """A label that a version was trained on. Memory = trained base + labels since − labels withdrawn."""

    __tablename__ = "snapshot_labels"

    model_version_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True
    )
    image_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    category_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("categories.id"))


class ClassMemoryRow(Base):
    """A category's place in the visual memory of a version, as it stands now.

    Derived: the checkpoint holds the memory as trained, ``snapshot_labels`` the images behind it, and
    the images' present labels tell what has changed since. A category without images has no row.
    """

    __tablename__ = "class_memory"

    model_version_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), primary_key=True
    )
    category_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("categories.id"), primary_key=True, index=True)
    centroid: Mapped[object] = mapped_column(VECTOR(), comment="mean of v over the labelled images")
    weight: Mapped[object] = mapped_column(VECTOR(), comment="row of the cosine classifier")
    hallucinator: Mapped[object] = mapped_column(VECTOR(), comment="row of T_hal")
    exemplar_image_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("images.id", ondelete="SET NULL"), comment="labelled image nearest to the centroid"
    )
    count: Mapped[int] = mapped_column(comment="labelled images behind the centroid")
    members_hash: Mapped[int] = mapped_column(
        BigInteger, comment="of the ids of those images: tells reconcile of an update that got lost"
    )
    usual_limit: Mapped[float] = mapped_column(comment="95 % of its images lie within this distance")
    revision: Mapped[int] = mapped_column(comment="memory revision of its last change")

"""A recognition problem with its categories, members, images and line of model versions."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, OptionalUserId


class Project(Base):
    """One recognition problem and the settings of its queue."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("strategy IN ('frontier', 'free_energy', 'random')", name="strategy"),
        CheckConstraint("gate IN ('free_energy', 'openness', 'unknown_score')", name="gate"),
        CheckConstraint("round_size BETWEEN 1 AND 10000", name="round_size"),
        CheckConstraint("control_share BETWEEN 0 AND 1", name="control_share"),
        CheckConstraint("temperature > 0", name="temperature"),
        CheckConstraint("hold_seconds BETWEEN 10 AND 86400", name="hold_seconds"),
    )

    id: Mapped[Id]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    created_by: Mapped[OptionalUserId]
    created_at: Mapped[CreatedAt]
    active_version_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("model_versions.id", use_alter=True, ondelete="SET NULL")
    )
    strategy: Mapped[str] = mapped_column(default="frontier", comment="selection strategy, by registry name")
    gate: Mapped[str] = mapped_column(default="free_energy", comment="score that admits images to the queue")
    round_size: Mapped[int] = mapped_column(default=64, comment="images that one round of selection offers")
    control_share: Mapped[float] = mapped_column(default=0.05, comment="share of images queued at random")
    temperature: Mapped[float] = mapped_column(default=0.02, comment="T of the free energy")
    hold_seconds: Mapped[int] = mapped_column(default=300, comment="how long a claimed image is held")

"""Who did what, kept for good."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, OptionalUserId


class AuditEntry(Base):
    """One act of one person."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "project_id", "created_at"),)

    id: Mapped[Id]
    project_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[OptionalUserId]
    action: Mapped[str] = mapped_column(comment="past tense, for example category.renamed")
    subject_id: Mapped[uuid.UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[CreatedAt]

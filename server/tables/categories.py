"""Classes that an image can belong to, and the other names that people use for them."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from server.tables.base import Base, CreatedAt, Id, OptionalUserId, ProjectId, text_enum


class CategoryStatus(StrEnum):
    """PROPOSED by an annotator, ACTIVE once confirmed or imported, RETIRED: no longer offered."""

    PROPOSED = "PROPOSED"
    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"


class AliasKind(StrEnum):
    """Another name in use, or a known misspelling."""

    ALIAS = "ALIAS"
    MISSPELLING = "MISSPELLING"


class Category(Base):
    """A class of a project."""

    __tablename__ = "categories"
    __table_args__ = (
        Index(
            "uq_categories_project_id_name_key",
            "project_id",
            "name_key",
            unique=True,
            postgresql_where=text("status <> 'RETIRED'"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[ProjectId] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(comment="as people see it")
    name_key: Mapped[str] = mapped_column(comment="normalised form; equal keys are one name")
    status: Mapped[CategoryStatus] = mapped_column(text_enum(CategoryStatus))
    created_by: Mapped[OptionalUserId]
    created_at: Mapped[CreatedAt]
    live_at: Mapped[datetime | None] = mapped_column(
        comment="first moment at which a prediction could name it"
    )


class Alias(Base):
    """Another name of a category. Typing it finds the category."""

    __tablename__ = "aliases"
    __table_args__ = (UniqueConstraint("project_id", "name_key"),)

    id: Mapped[Id]
    project_id: Mapped[ProjectId]
    category_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("categories.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str]
    name_key: Mapped[str]
    kind: Mapped[AliasKind] = mapped_column(text_enum(AliasKind))
    created_by: Mapped[OptionalUserId]
    created_at: Mapped[CreatedAt]

"""Declarative base, naming convention and the column types that every table shares."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import DateTime, Enum, ForeignKey, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


def utc_now() -> datetime:
    """The present moment with its time zone."""
    return datetime.now(UTC)


def text_enum(kind: type[StrEnum]) -> Enum:
    """A string column that holds a member's value and refuses others by a CHECK.

    Not a PostgreSQL enum type: adding a member would need a migration that cannot run in a transaction.
    """
    return Enum(
        kind,
        native_enum=False,
        length=32,
        create_constraint=True,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Base of all tables. Constraint names follow one convention, so migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


Id = Annotated[uuid.UUID, mapped_column(primary_key=True, default=uuid.uuid4)]
CreatedAt = Annotated[datetime, mapped_column(default=utc_now)]
ProjectId = Annotated[uuid.UUID, mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))]
UserId = Annotated[uuid.UUID, mapped_column(ForeignKey("users.id"))]
OptionalUserId = Annotated[uuid.UUID | None, mapped_column(ForeignKey("users.id"))]

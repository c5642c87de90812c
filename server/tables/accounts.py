"""People, their browser sessions and tokens, and their roles in projects."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.permissions import Role
from server.tables.base import Base, CreatedAt, Id, ProjectId, text_enum


class User(Base):
    """A person. Accounts are made by an admin only; there is no open sign-up."""

    __tablename__ = "users"
    __table_args__ = (Index("uq_users_email", text("lower(email)"), unique=True),)

    id: Mapped[Id]
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str] = mapped_column(comment="argon2id")
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]


class BrowserSession(Base):
    """A login of a browser. The cookie holds the token, the row only its hash."""

    __tablename__ = "browser_sessions"

    token_hash: Mapped[str] = mapped_column(primary_key=True, comment="sha256 of the cookie's token, hex")
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]


class LoginAttempt(Base):
    """A failed login, kept to slow down guessing."""

    __tablename__ = "login_attempts"
    __table_args__ = (Index(None, "email", "created_at"),)

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(comment="as typed, lower case")
    created_at: Mapped[CreatedAt]


class ApiToken(Base):
    """A bearer token for programs, shown once."""

    __tablename__ = "api_tokens"

    id: Mapped[Id]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True, comment="sha256, hex")
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Membership(Base):
    """A user's role in a project."""

    __tablename__ = "memberships"

    project_id: Mapped[ProjectId] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[Role] = mapped_column(text_enum(Role))
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship(lazy="raise")

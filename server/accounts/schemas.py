"""What goes in and out of the account endpoints."""

import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from server.accounts.secrets import MAX_PASSWORD


class LoginIn(BaseModel):
    """Credentials of a person."""

    email: str = Field(max_length=300)
    password: str = Field(max_length=MAX_PASSWORD)


class PasswordIn(BaseModel):
    """A person's change of their own password."""

    current: str = Field(max_length=MAX_PASSWORD)
    new: str = Field(max_length=MAX_PASSWORD)


class UserIn(LoginIn):
    """A new account."""

    name: str
    is_admin: bool = False


class UserOut(BaseModel):
    """A person, without secrets."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    email: str
    name: str
    is_admin: bool


class TokenIn(BaseModel):
    """A new API token; the name is for the person who keeps it."""

    name: str


class TokenOut(BaseModel):
    """A token as it is listed: never the token itself."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


class NewTokenOut(TokenOut):
    """A token at the one moment it can be read."""

    token: str

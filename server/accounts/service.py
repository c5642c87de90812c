"""Accounts by invitation, logins and tokens."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from server import audit
from server.accounts import queries, secrets
from server.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted, TooManyRequests
from server.tables import ApiToken, BrowserSession, LoginAttempt, User
from server.tables.base import utc_now

MAX_TRIES = 5
TRIES_WINDOW = timedelta(minutes=15)
MAX_NAME = 100
FIRST_ADMIN_EMAIL = "admin@localhost"

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")


@dataclass(frozen=True)
class Login:
    """A login that worked: the cookie's token and how long it lasts."""

    user: User
    token: str
    lasts: timedelta


def log_in(session: Session, email: str, password: str, lasts: timedelta) -> Login | NotAuthenticated:
    """Check a password and open a browser session.

    A failure is returned, not raised: it has to be counted, and raising rolls back.

    Raises:
        TooManyRequests: ``MAX_TRIES`` failures for this address within ``TRIES_WINDOW``.
    """
    email, now = _email_key(email), utc_now()
    queries.lock_logins(session, email)
    failures, first = queries.failed_logins(session, email, now - TRIES_WINDOW)
    if first is not None and failures >= MAX_TRIES:
        raise _wait(int((first + TRIES_WINDOW - now).total_seconds()) + 1)
    user = queries.find_user_by_email(session, email)
    is_right = secrets.is_password(password, user.password_hash if user else None)
    if user is None or not is_right or user.disabled_at is not None:
        session.add(LoginAttempt(email=email))
        session.flush()
        return _refusal(MAX_TRIES - failures - 1)
    queries.forget_logins(session, email, before=now - TRIES_WINDOW)
    queries.delete_expired_sessions(session, now)
    return Login(user, _open_session(session, user, lasts), lasts)


def log_out(session: Session, token: str) -> None:
    """End one browser session; harmless when repeated."""
    session.execute(delete(BrowserSession).where(BrowserSession.token_hash == secrets.hash_token(token)))


def find_user_by_session(session: Session, token: str) -> User | None:
    """The user of a session cookie, unless it has expired."""
    return queries.find_user_by_session(session, secrets.hash_token(token), utc_now())


def find_user_by_api_token(session: Session, token: str) -> User | None:
    """The user of a bearer token, unless it was revoked."""
    use = queries.find_token_use(session, secrets.hash_token(token))
    if use is None:
        return None
    queries.touch_token(session, use, utc_now())
    return use.user


def create_user(
    session: Session,
    email: str,
    name: str,
    password: str,
    is_admin: bool = False,
    *,
    created_by: User | None = None,
) -> User:
    """Add a person.

    Raises:
        InvalidInput: no address, no name, or a password that is too short.
        Conflict: the address is taken.
    """
    email, name = _valid_email(email), _valid_name(name)
    _check_password(password)
    values = {
        "id": uuid.uuid4(),
        "email": email,
        "name": name,
        "password_hash": secrets.hash_password(password),
        "is_admin": is_admin,
        "created_at": utc_now(),
    }
    user_id = session.scalar(insert(User).values(values).on_conflict_do_nothing().returning(User.id))
    if user_id is None:
        raise Conflict(f"There is an account for {email} already.", code="email-taken")
    audit.record(
        session,
        "user.created",
        user_id=created_by.id if created_by else None,
        subject_id=user_id,
        email=email,
        is_admin=is_admin,
    )
    return session.get_one(User, user_id)


def ensure_first_admin(session: Session) -> tuple[str, str] | None:
    """Make an admin with a random password if nobody has an account yet: ``(email, password)``, else None."""
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    password = secrets.new_password()
    create_user(session, FIRST_ADMIN_EMAIL, "Admin", password, is_admin=True)
    return FIRST_ADMIN_EMAIL, password


def reset_password(session: Session, email: str, password: str | None = None) -> str:
    """Give a user a new password (a random one if none is given), end their sessions; returns it.

    Raises:
        NotFound: nobody has this address.
    """
    user = queries.find_user_by_email(session, _email_key(email))
    if user is None:
        raise NotFound(f"There is no account for {email}.")
    password = password or secrets.new_password()
    _set_password(session, user, password)
    return password


def change_password(session: Session, user: User, current: str, new: str) -> None:
    """Let a person choose another password; all their browsers have to log in again.

    Raises:
        NotPermitted: ``current`` is not the password.
    """
    if not secrets.is_password(current, user.password_hash):
        raise NotPermitted("The current password is not right.", code="wrong-password")
    _set_password(session, user, new)


def close_account(session: Session, admin: User, user_id: uuid.UUID) -> None:
    """Shut a person out at once, browsers and tokens alike. Their labels and history stay.

    Raises:
        NotFound: there is no such account.
        NotPermitted: it is one's own.
    """
    require_admin(admin)
    user = session.get(User, user_id)
    if user is None or user.disabled_at is not None:
        raise NotFound("There is no such account.")
    if user.id == admin.id:
        raise NotPermitted("Nobody closes their own account. Ask another admin.")
    user.disabled_at = utc_now()
    queries.delete_sessions(session, user.id)
    session.flush()
    audit.record(session, "user.closed", user_id=admin.id, subject_id=user.id, email=user.email)


def list_users(session: Session, user: User, *, limit: int = 100, offset: int = 0) -> Sequence[User]:
    """All accounts, for an admin."""
    require_admin(user)
    return queries.list_users(session, limit, offset)


def require_admin(user: User) -> None:
    """Raise ``NotPermitted`` unless the user administers this service."""
    if not user.is_admin:
        raise NotPermitted("Only an admin of this service can do that.")


def create_api_token(session: Session, user: User, name: str) -> tuple[ApiToken, str]:
    """A bearer token for programs; the second value is the token itself, which nobody can read again."""
    token = secrets.new_token(secrets.TOKEN_PREFIX)
    row = ApiToken(user_id=user.id, name=_valid_name(name), token_hash=secrets.hash_token(token))
    session.add(row)
    session.flush()
    audit.record(session, "token.created", user_id=user.id, subject_id=row.id, name=row.name)
    return row, token


def list_api_tokens(session: Session, user: User) -> Sequence[ApiToken]:
    """A person's own tokens that still work."""
    return queries.list_tokens(session, user.id)


def revoke_api_token(session: Session, user: User, token_id: uuid.UUID) -> None:
    """Make a token of one's own useless.

    Raises:
        NotFound: the user has no such token.
    """
    row = session.scalar(select(ApiToken).where(ApiToken.id == token_id, ApiToken.user_id == user.id))
    if row is None or row.revoked_at is not None:
        raise NotFound("You have no such token.")
    row.revoked_at = utc_now()
    session.flush()
    audit.record(session, "token.revoked", user_id=user.id, subject_id=row.id, name=row.name)


def _open_session(session: Session, user: User, lasts: timedelta) -> str:
    token = secrets.new_token()
    session.add(
        BrowserSession(token_hash=secrets.hash_token(token), user_id=user.id, expires_at=utc_now() + lasts)
    )
    session.flush()
    return token


def _set_password(session: Session, user: User, password: str) -> None:
    _check_password(password)
    user.password_hash = secrets.hash_password(password)
    queries.delete_sessions(session, user.id)
    session.flush()
    audit.record(session, "user.password_changed", user_id=user.id, subject_id=user.id)


def _refusal(tries_left: int) -> NotAuthenticated:
    # The same words for an unknown address: who has an account stays unknown.
    minutes = int(TRIES_WINDOW.total_seconds() // 60)
    left = f"{tries_left} {'try' if tries_left == 1 else 'tries'} left before a wait of {minutes} minutes."
    if tries_left == 0:
        left = f"Wait {minutes} minutes before the next try."
    return NotAuthenticated(
        f"Email and password do not match. {left}", code="wrong-login", tries_left=tries_left
    )


def _wait(seconds: int) -> TooManyRequests:
    minutes = -(-seconds // 60)
    return TooManyRequests(
        f"{MAX_TRIES} logins for this address have failed. "
        f"Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}.",
        retry_after=seconds,
        code="too-many-logins",
        tries_left=0,
    )


def _email_key(email: str) -> str:
    return email.strip().lower()


def _valid_email(email: str) -> str:
    email = email.strip()
    if not _EMAIL.fullmatch(email):
        raise InvalidInput("Email: give an address such as ada@example.org.")
    return email


def _valid_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"Name: give 1 to {MAX_NAME} characters.")
    return name


def _check_password(password: str) -> None:
    if not secrets.MIN_PASSWORD <= len(password) <= secrets.MAX_PASSWORD:
        raise InvalidInput(f"Password: give {secrets.MIN_PASSWORD} to {secrets.MAX_PASSWORD} characters.")

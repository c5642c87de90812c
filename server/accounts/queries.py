"""SQL on people, sessions and tokens."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from server.tables import ApiToken, BrowserSession, LoginAttempt, User

TOKEN_USE_PRECISION = timedelta(minutes=10)


def find_user_by_email(session: Session, email: str) -> User | None:
    """A user by address in any case."""
    return session.scalar(select(User).where(func.lower(User.email) == email.lower()))


# Every request asks one of these two; to put a statement together takes as long as to run it.
_USER_OF_SESSION = (
    select(User)
    .join(BrowserSession, BrowserSession.user_id == User.id)
    .where(
        BrowserSession.token_hash == bindparam("token_hash"),
        BrowserSession.expires_at > bindparam("now"),
        User.disabled_at.is_(None),
    )
)
_USER_OF_TOKEN = (
    select(User, ApiToken.id, ApiToken.last_used_at)
    .join(ApiToken, ApiToken.user_id == User.id)
    .where(
        ApiToken.token_hash == bindparam("token_hash"),
        ApiToken.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)


def find_user_by_session(session: Session, token_hash: str, now: datetime) -> User | None:
    """The enabled user of a browser session that has not expired."""
    return session.scalar(_USER_OF_SESSION, {"token_hash": token_hash, "now": now})


@dataclass(frozen=True)
class TokenUse:
    """A token that works: whose it is, and when it was last used."""

    user: User
    token_id: uuid.UUID
    last_used_at: datetime | None


def find_token_use(session: Session, token_hash: str) -> TokenUse | None:
    """A token that is not revoked, with its enabled user."""
    row = session.execute(_USER_OF_TOKEN, {"token_hash": token_hash}).one_or_none()
    return TokenUse(*row) if row else None


def touch_token(session: Session, use: TokenUse, now: datetime) -> None:
    """Note the use of a token, to ten minutes; a row that another request holds is left to that one."""
    if use.last_used_at is not None and now - use.last_used_at < TOKEN_USE_PRECISION:
        return
    free = (
        select(ApiToken.id)
        .where(
            ApiToken.id == use.token_id,
            or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - TOKEN_USE_PRECISION),
        )
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    session.execute(
        update(ApiToken).where(ApiToken.id == free).values(last_used_at=now),
        execution_options={"synchronize_session": False},
    )


def list_tokens(session: Session, user_id: uuid.UUID) -> Sequence[ApiToken]:
    """A user's tokens that still work, newest first."""
    return session.scalars(
        select(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
        .order_by(ApiToken.created_at.desc(), ApiToken.id)
    ).all()


def list_users(session: Session, limit: int, offset: int) -> Sequence[User]:
    """All users whose account is open, by name."""
    return session.scalars(
        select(User)
        .where(User.disabled_at.is_(None))
        .order_by(func.lower(User.name), User.id)
        .limit(limit)
        .offset(offset)
    ).all()


def lock_logins(session: Session, email: str) -> None:
    """One login at a time per address, so that guesses sent at once are counted one by one."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"login:{email}", 0))))


def failed_logins(session: Session, email: str, since: datetime) -> tuple[int, datetime | None]:
    """How many logins of ``email`` have failed since then, and when the first of them did."""
    row = session.execute(
        select(func.count(), func.min(LoginAttempt.created_at)).where(
            LoginAttempt.email == email, LoginAttempt.created_at > since
        )
    ).one()
    return row[0], row[1]


def forget_logins(session: Session, email: str, before: datetime) -> None:
    """Drop the failures of ``email``, and everybody's that are too old to count."""
    session.execute(
        delete(LoginAttempt).where(or_(LoginAttempt.email == email, LoginAttempt.created_at <= before))
    )


def delete_expired_sessions(session: Session, now: datetime) -> None:
    """Clear away what no browser can use any more."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now))


def delete_sessions(session: Session, user_id: uuid.UUID) -> None:
    """End all browser sessions of a user."""
    session.execute(delete(BrowserSession).where(BrowserSession.user_id == user_id))

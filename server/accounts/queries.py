"""SQL on people, sessions and tokens."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from server.tables import ApiToken, BrowserSession, LoginAttempt, User

TOKEN_USE_PRECISION = timedelta(minutes=10)


def find_user_by_email(session: Session, email: str) -> User | None:
    """A user by address in any case."""
    return session.scalar(select(User).where(func.lower(User.email) == email.lower()))


def find_user_by_session(session: Session, token_hash: str, now: datetime) -> User | None:
    """The enabled user of a browser session that has not expired."""
    return session.scalar(
        select(User)
        .join(BrowserSession, BrowserSession.user_id == User.id)
        .where(
            BrowserSession.token_hash == token_hash,
            BrowserSession.expires_at > now,
            User.disabled_at.is_(None),
        )
    )


def find_token_and_user(session: Session, token_hash: str) -> tuple[ApiToken, User] | None:
    """A token that is not revoked, with its enabled user."""
    row = session.execute(
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_hash == token_hash, ApiToken.revoked_at.is_(None), User.disabled_at.is_(None))
    ).one_or_none()
    return (row[0], row[1]) if row else None


def touch_token(session: Session, token: ApiToken, now: datetime) -> None:
    """Note the use of a token, to ten minutes; a row that another request holds is left to that one."""
    if token.last_used_at is not None and now - token.last_used_at < TOKEN_USE_PRECISION:
        return
    free = (
        select(ApiToken.id)
        .where(
            ApiToken.id == token.id,
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

"""Engine and transactions: one per request, one per task. Services flush, they never commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

import server.jobs  # noqa: F401  (its session events send jobs after a commit)


@lru_cache
def engine_for(url: str) -> Engine:
    """The engine of ``url``; one per process and database."""
    return create_engine(
        url,
        pool_size=20,
        max_overflow=20,
        pool_pre_ping=True,
        connect_args={"application_name": "newfound"},
    )


def session_factory(url: str) -> sessionmaker[Session]:
    """A factory of sessions on ``url``."""
    return sessionmaker(engine_for(url), expire_on_commit=False)


@contextmanager
def session_scope(url: str) -> Iterator[Session]:
    """One transaction: commit at the end, roll back on any error."""
    with session_factory(url)() as session:
        yield session
        session.commit()

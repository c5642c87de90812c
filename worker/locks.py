"""One run of a job at a time, over all worker processes, and its end before time."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from server.database import engine_for


class JobStopped(Exception):
    """Somebody called the job off; what is recorded stays."""


@contextmanager
def only_one(url: str, purpose: str, target_id: uuid.UUID) -> Iterator[bool]:
    """Whether this is the only run for ``purpose`` and ``target_id`` now; the block should return if not.

    The lock is the database's and goes with its connection, so it dies with a killed worker.
    """
    key = {"name": f"{purpose} {target_id}"}
    with engine_for(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = "SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"
        is_ours = bool(connection.execute(text(lock), key).scalar())
        try:
            yield is_ours
        finally:
            if is_ours:
                connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)

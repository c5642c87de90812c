"""The embedded PostgreSQL and Redis: private, durable, and hard to upset."""

import multiprocessing
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

from server import embedded
from server.embedded import EmbeddedServiceError, Services, folders, processes, programs

NOBODY = pwd.getpwnam("nobody").pw_uid
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who gives processes another user")
_numbers = count(1)


@pytest.fixture
def home(run_folder: Path) -> Path:
    """A home folder that does not exist yet, where every user may pass."""
    return run_folder / f"home-{next(_numbers)}"


@pytest.fixture
def start() -> Iterator[Callable[[Path], Services]]:
    """``embedded.start``, undone at the end of the test."""
    started = []

    def start(home: Path) -> Services:
        started.append(embedded.start(home))
        return started[-1]

    yield start
    for services in started:
        services.stop()


def connect(services: Services, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    url = make_url(services.database_url)
    where = {"user": url.username, "dbname": url.database, **url.query}
    return psycopg.connect(**{**where, **options}, autocommit=True)


def ask(services: Services, question: str) -> Any:
    with connect(services) as connection:
        row = connection.execute(question).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None


def tell(services: Services, statement: str) -> None:
    with connect(services) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def broker(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url)


def redis_pid(services: Services) -> int:
    with broker(services) as connection:
        return int(connection.info("server")["process_id"])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/cwd").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


class TestStart:
    def test_both_answer_and_keep_what_they_are_given(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        services = start(home)
        tell(services, "CREATE EXTENSION vector")
        tell(services, "CREATE TABLE kept AS SELECT '[1,2]'::halfvec(2) AS v")
        with broker(services) as connection:
            connection.rpush("jobs", "one")
        services.stop()

        services = start(home)
        assert ask(services, "SELECT v <-> '[1,4]' FROM kept") == 2.0
        with broker(services) as connection:
            assert connection.lrange("jobs", 0, -1) == [b"one"]

    def test_nobody_else_can_connect(self, home: Path, start: Callable[[Path], Services]) -> None:
        services = start(home)
        assert ask(services, "SHOW listen_addresses") == ""
        with broker(services) as connection:
            assert connection.config_get("port") == {"port": "0"}
        sockets = [Path(str(make_url(services.database_url).query["host"]))]
        sockets.append(Path(services.redis_url.removeprefix("unix://")).parent)
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in sockets] == [0o700, 0o700]

    def test_settings_that_the_measurements_rest_on(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        services = start(home)
        shown = {
            name: ask(services, f"SHOW {name}") for name in ("fsync", "jit", "wal_compression", "timezone")
        }
        assert shown == {"fsync": "on", "jit": "off", "wal_compression": "pglz", "timezone": "UTC"}
        assert (
            256 <= int(ask(services, "SHOW shared_buffers").removesuffix("MB").replace("1GB", "1024")) <= 1024
        )
        with broker(services) as connection:
            # A full broker must refuse a job, never drop another one silently.
            assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}

    def test_names_are_compared_by_unicode_rules(self, home: Path, start: Callable[[Path], Services]) -> None:
        assert ask(start(home), "SELECT lower('ÄÖÜ')") == "äöü"

    @pytest.mark.parametrize("name", ["with space", 'it\'s 100%, "$HOME" #1', "ümlaut", "x" * 120])
    def test_any_folder_name_will_do(
        self, run_folder: Path, start: Callable[[Path], Services], name: str
    ) -> None:
        services = start(run_folder / name / "state")
        assert ask(services, "SELECT 1") == 1
        with broker(services) as connection:
            assert connection.ping()
        short_folders = [Path(str(make_url(services.database_url).query["host"]))]
        services.stop()
        assert not any(folder.exists() for folder in short_folders)

    def test_environment_of_other_servers_does_not_matter(
        self, home: Path, start: Callable[[Path], Services], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "6543", "PGHOST": "db.invalid", "PGDATA": "/nowhere"}.items():
            monkeypatch.setenv(name, value)
        assert ask(start(home), "SELECT 1") == 1

    def test_two_homes_at_once(self, run_folder: Path, start: Callable[[Path], Services]) -> None:
        one, two = start(run_folder / "one"), start(run_folder / "two")
        tell(one, "CREATE TABLE only_in_one ()")
        assert ask(two, "SELECT to_regclass('only_in_one')") is None

    def test_stop_may_be_repeated(self, home: Path) -> None:
        services = embedded.start(home)
        services.stop()
        services.stop()
        assert embedded.find_running(home) is None


class TestSecondStart:
    def test_is_refused_and_told_who_holds_the_folder(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        start(home)
        with pytest.raises(
            EmbeddedServiceError, match=rf"already runs on .*process {os.getpid()}.*NEWFOUND_HOME"
        ):
            embedded.start(home)

    def test_another_process_finds_the_addresses(self, home: Path, start: Callable[[Path], Services]) -> None:
        services = start(home)
        code = (
            "import sys; from pathlib import Path; from server import embedded\n"
            "print(embedded.find_running(Path(sys.argv[1])))"
        )
        found = subprocess.run([sys.executable, "-c", code, home], capture_output=True, text=True, check=True)
        assert services.database_url in found.stdout
        assert services.redis_url in found.stdout

    def test_finds_nothing_where_nothing_runs(self, run_folder: Path) -> None:
        assert embedded.find_running(run_folder / "never") is None
        assert not (run_folder / "never").exists()

    def test_a_folder_that_cannot_be_made_is_an_error_with_a_mend(self, run_folder: Path) -> None:
        (run_folder / "file").touch()
        with pytest.raises(EmbeddedServiceError, match="NEWFOUND_HOME"):
            embedded.start(run_folder / "file" / "home")


class TestCrash:
    def test_killed_servers_are_noticed_and_revived_without_loss(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        services = start(home)
        tell(services, "CREATE TABLE committed AS SELECT 1")
        assert services.dead() == []
        kill(postmaster(home))
        kill(redis_pid(services))
        assert services.dead() == ["postgres", "redis"]

        services.revive()
        assert services.dead() == []
        assert ask(services, "SELECT count(*) FROM committed") == 1

    def test_a_server_that_hangs_is_replaced(
        self, home: Path, start: Callable[[Path], Services], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes, "ORPHAN_SECONDS", 0.1)
        services = start(home)
        hung = redis_pid(services)
        os.kill(hung, signal.SIGSTOP)
        assert services.dead() == ["redis"]
        services.revive()
        assert redis_pid(services) != hung

    def test_servers_of_a_killed_starter_are_joined(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        before = start_in_a_killed_process(home)
        services = start(home)
        assert (postmaster(home), redis_pid(services)) == before
        services.stop()
        assert embedded.find_running(home) is None

    @pytest.mark.parametrize("holder", ["dead", "alive"])
    def test_what_a_dead_server_left_behind_is_cleared(
        self, home: Path, start: Callable[[Path], Services], holder: str
    ) -> None:
        for pid in start_in_a_killed_process(home):
            kill(pid)
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        assert pid_file.exists()
        if holder == "alive":
            # The number has passed to somebody else meanwhile.
            _, rest = pid_file.read_text().split("\n", 1)
            pid_file.write_text(f"{os.getpid()}\n{rest}")
        assert ask(start(home), "SELECT 1") == 1

    def test_a_session_that_outlives_its_postmaster_is_waited_for(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        services = start(home)
        with connect(services) as busy:
            busy_pid = busy.info.backend_pid
            # Stopped, it cannot notice the death of its postmaster and might still write.
            os.kill(busy_pid, signal.SIGSTOP)
            kill(postmaster(home))
            waker = subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {busy_pid}"])
            services.revive()
            waker.wait()
        assert not Path(f"/proc/{busy_pid}/cwd").exists()
        assert ask(services, "SELECT 1") == 1

    def test_an_interrupted_first_start_is_done_again(
        self, home: Path, start: Callable[[Path], Services]
    ) -> None:
        services = start(home)
        services.stop()
        (home / "postgres" / "data").rename(home / "postgres" / "data.new")
        assert ask(start(home), "SELECT 1") == 1

    def test_an_unreadable_snapshot_is_set_aside(self, home: Path, start: Callable[[Path], Services]) -> None:
        start(home).stop()
        (home / "redis" / "dump.rdb").write_bytes(b"REDIS9999 of another age")
        services = start(home)
        with broker(services) as connection:
            assert connection.dbsize() == 0
        assert (home / "redis" / "dump.rdb.unreadable").exists()

    def test_data_of_an_unknown_version_is_an_error_with_a_mend(self, home: Path) -> None:
        embedded.start(home).stop()
        (home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
        with pytest.raises(EmbeddedServiceError, match=r"No PostgreSQL 9 .*NEWFOUND_DATABASE_URL"):
            embedded.start(home)
        assert embedded.find_running(home) is None


class TestUsers:
    @only_root
    def test_as_root_the_server_runs_as_nobody_and_opens_no_folder(
        self, run_folder: Path, home: Path, start: Callable[[Path], Services]
    ) -> None:
        mode_before = run_folder.stat().st_mode
        start(home)
        assert Path(f"/proc/{postmaster(home)}").stat().st_uid == NOBODY
        assert run_folder.stat().st_mode == mode_before
        assert stat.S_IMODE(home.stat().st_mode) == 0o711

    @only_root
    def test_under_a_closed_folder_state_and_programs_lie_elsewhere(
        self,
        run_folder: Path,
        start: Callable[[Path], Services],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        closed = run_folder / "closed"
        closed.mkdir(mode=0o700)
        monkeypatch.setattr(folders, "ROOT_STATE", run_folder / "elsewhere")
        # Programs that only root may reach, as in an environment under /root.
        version, binaries = max(programs.installed_postgres().items())
        package = binaries.parents[1]
        for folder in (package.name, f"{package.name}.libs"):
            subprocess.run(["cp", "-r", package.with_name(folder), closed], check=True)
        hidden = closed / binaries.relative_to(package.parent)
        monkeypatch.setattr(programs, "installed_postgres", lambda: {version: hidden})

        services = start(closed / "home")
        tell(services, "CREATE TABLE kept ()")
        services.stop()
        services = start(closed / "home")
        assert ask(services, "SELECT to_regclass('kept')") == "kept"
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert not (closed / "home" / "postgres").exists()

    @only_root
    def test_an_ordinary_user_needs_no_root(self, home: Path) -> None:
        home.mkdir()
        os.chown(home, NOBODY, -1)
        child = multiprocessing.get_context("fork").Process(target=_start_as_nobody, args=(home,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert (home / "redis").stat().st_uid == NOBODY

    @only_root
    def test_a_folder_of_another_user_is_refused(self, home: Path) -> None:
        embedded.start(home).stop()
        (home / "lock").chmod(0o666)
        os.chown(home / "redis", NOBODY, -1)
        with pytest.raises(EmbeddedServiceError, match=r"redis is not a private folder .*NEWFOUND_HOME"):
            embedded.start(home)
        assert embedded.find_running(home) is None


def _start_as_nobody(home: Path) -> None:
    os.setgroups([])
    os.setgid(pwd.getpwnam("nobody").pw_gid)
    os.setuid(NOBODY)
    with embedded.start(home) as services:
        assert ask(services, "SELECT 1") == 1
        assert Path(f"/proc/{postmaster(home)}").stat().st_uid == NOBODY


def start_in_a_killed_process(home: Path) -> tuple[int, int]:
    """Start the services from a process that dies by kill -9; process ids of PostgreSQL and Redis."""
    code = (
        "import sys, time; from pathlib import Path; from server import embedded\n"
        "services = embedded.start(Path(sys.argv[1])); print(services.redis_url, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, home], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        redis_url = starter.stdout.readline().strip()
    starter.kill()
    starter.wait()
    with redis.Redis.from_url(redis_url) as connection:
        return postmaster(home), int(connection.info("server")["process_id"])

"""What every test may ask for: real PostgreSQL and Redis, a migrated database, the real application.

``services`` runs once per test run in a temporary folder. Each test module gets a database of its own,
copied from one that ``alembic upgrade head`` has built, so modules never see each other's rows.
"""

import fcntl
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from logging import WARNING
from pathlib import Path
from typing import TYPE_CHECKING

# Read when numpy is first imported. Waiting BLAS threads spin: where the cores are busy, small matrices
# take thirty times as long on two threads as on one.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import psycopg
import pytest
import redis
from fastapi import FastAPI
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session
from stack import Stack
from starlette.testclient import TestClient

import migrations
from server import embedded, jobs, logging
from server import settings as settings_module
from server.database import engine_for, session_factory
from server.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RUN_PREFIX = "newfound-tests-"
TEMPLATE = "newfound_template"
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Let SIGTERM end a run like Ctrl-C does, so that what it has started is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Log as the service does; structlog's own default draws every local variable of an expected error."""
    logging.configure("json", level=WARNING)


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder for this run that other users may pass through; pytest's own is closed to them."""
    sweep_dead_runs()
    folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
    folder.chmod(0o755)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
        # Still under the lock, or another run would take this one for dead and remove it too.
        shutil.rmtree(folder)


def sweep_dead_runs() -> None:
    """End the servers and remove the folder of every run that was killed before it could do so itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        try:
            with (folder / "lock").open() as lock:
                # The kernel drops the lock of a run that has died, however it died.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for pid in processes_below(folder):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, PermissionError, BlockingIOError):
            continue


def processes_below(folder: Path) -> list[int]:
    """Processes whose working folder lies below ``folder``, as that of each embedded server does."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "cwd").readlink().is_relative_to(folder):
                    found.append(int(entry.name))
    return found


@pytest.fixture(scope="session")
def services(run_folder: Path) -> Iterator[embedded.Services]:
    """The run's own PostgreSQL and Redis."""
    with embedded.start(run_folder / "home") as running:
        yield running


@pytest.fixture(scope="session")
def redis_url(services: embedded.Services) -> str:
    """The run's Redis, as redis-py spells it."""
    return services.redis_url


@pytest.fixture(scope="session")
def admin_sql(services: embedded.Services) -> Iterator[Callable[[str], None]]:
    """Run one statement on the server outside any test database."""
    url = make_url(services.database_url)
    with psycopg.connect(
        host=str(url.query["host"]), port=5432, user=url.username, dbname="postgres", autocommit=True
    ) as connection:

        def execute(statement: str) -> None:
            connection.execute(statement)  # type: ignore[arg-type]

        yield execute


@pytest.fixture(scope="session")
def template_database(services: embedded.Services, admin_sql: Callable[[str], None]) -> str:
    """Name of a database that ``alembic upgrade head`` has built; only to be copied."""
    admin_sql(f"CREATE DATABASE {TEMPLATE}")
    migrations.upgrade(database_named(services, TEMPLATE))
    admin_sql(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
    admin_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'")
    return TEMPLATE


def database_named(services: embedded.Services, name: str) -> str:
    """URL of another database of the run's server."""
    return make_url(services.database_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def empty_database(services: embedded.Services, admin_sql: Callable[[str], None]) -> Iterator[str]:
    """URL of a database with nothing in it, for one test."""
    yield from _database(services, admin_sql, "template1")


@pytest.fixture(scope="module")
def database_url(
    services: embedded.Services, admin_sql: Callable[[str], None], template_database: str
) -> Iterator[str]:
    """URL of a migrated database that this module has to itself."""
    yield from _database(services, admin_sql, template_database)


@pytest.fixture
def fresh_database_url(
    services: embedded.Services, admin_sql: Callable[[str], None], template_database: str
) -> Iterator[str]:
    """URL of a migrated database without any row, for one test."""
    yield from _database(services, admin_sql, template_database)


def _database(services: embedded.Services, admin_sql: Callable[[str], None], template: str) -> Iterator[str]:
    name = f"newfound_test_{next(_numbers)}"
    admin_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    url = database_named(services, name)
    yield url
    engine_for(url).dispose()
    admin_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def settings(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of this module: its database, the run's Redis, an empty home. Also those of the process."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NEWFOUND_DATABASE_URL", database_url)
        environment.setenv("NEWFOUND_REDIS_URL", redis_url)
        environment.setenv("NEWFOUND_HOME", str(tmp_path_factory.mktemp("home")))
        _forget_settings()
        # Messages of another module speak of rows that are not in this database.
        with redis.Redis.from_url(redis_url) as connection:
            connection.flushall()
        yield settings_module.get_settings()
    _forget_settings()


def _forget_settings() -> None:
    settings_module.get_settings.cache_clear()
    jobs.celery_app.cache_clear()


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    """A session whose work is rolled back after the test.

    A ``commit()`` in it ends in a savepoint, so code under test may commit and send its jobs.
    """
    with engine_for(settings.database_url).connect() as connection, connection.begin() as outer:
        with session_factory(settings.database_url)(
            bind=connection, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        outer.rollback()


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    """The real application on this module's database."""
    # Here, because tests of the network library share this file and need no web application.
    from server.app import create_app

    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the application; its requests commit, so rows stay until the module ends."""
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="session")
def stack(run_folder: Path) -> Iterator[Stack]:
    """The whole service as real processes on a free port; its logs come with every failing test."""
    with Stack(run_folder / "stack") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """A real Chromium, one per run; ask it for a new context per test."""
    # Here, because only browser tests need Playwright.
    from browser import launch
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, launch(playwright) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the processes of ``stack`` have written to the report of a test that failed with it."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and running is not None:
        report.sections += running.log_tails()
    return report

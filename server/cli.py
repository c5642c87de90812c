"""The command ``newfound``: every process of the service, and all of them at once."""

import argparse
import os
import resource
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NoReturn

import alembic.util
import httpx
import pydantic
import sqlalchemy
import sqlalchemy.exc
import uvicorn
from celery.signals import setup_logging

import migrations
from server import embedded, logging
from server.accounts import service as accounts
from server.accounts.secrets import new_password
from server.database import session_scope
from server.errors import NewfoundError
from server.jobs import SCORE_QUEUE, TRAIN_QUEUE, celery_app, worker_name
from server.settings import Settings, get_settings
from server.supervisor import Child, Console, Supervisor, describe_exit, end_with

ADDRESS_VARIABLES = ("NEWFOUND_DATABASE_URL", "NEWFOUND_REDIS_URL")
# One forward pass per core is faster than one pass on many; the worker has threads of its own.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TRAIN_NICENESS = 10
PING_SECONDS = 5.0
# What web process and workers write (pictures, checkpoints) is for their user alone.
PRIVATE = 0o077


class CommandError(Exception):
    """The command cannot be done as asked; the message names the mend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["demo"]:
            # Its options are its own.
            demo(given[1:])
        else:
            options = parser().parse_args(given)
            options.run(options)
        return 0
    except pydantic.ValidationError as error:
        for fault in error.errors():
            name = f"NEWFOUND_{'_'.join(map(str, fault['loc'])).upper()}"
            print(f"newfound: {name}={fault['input']!r}: {fault['msg']}", file=sys.stderr)
    except (CommandError, embedded.EmbeddedServiceError, NewfoundError) as error:
        print(f"newfound: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1


def parser() -> argparse.ArgumentParser:
    """The command line's grammar; each command sets ``run``."""
    whole = argparse.ArgumentParser(
        prog="newfound", description="Find, name and recognise new classes in images."
    )
    whole.add_argument("--version", action="version", version=f"newfound {version('newfound')}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], None], summary: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    def listens(added: argparse.ArgumentParser) -> None:
        added.add_argument("--host", help="address to listen on (default: NEWFOUND_HOST)")
        added.add_argument("--port", type=int, help="port to listen on (default: NEWFOUND_PORT)")

    def supervised(added: argparse.ArgumentParser) -> None:
        added.add_argument("--supervisor", type=int, help=argparse.SUPPRESS)

    everything = command("up", up, "Run everything here: database, web process, workers, schedule.")
    everything.add_argument("--demo", action="store_true", help="make the demo project once it runs")
    listens(everything)

    web = command("api", api, "Run the web process: pages and REST API.")
    listens(web)
    supervised(web)

    worker_ = command("worker", worker, "Run a worker: scoring and predictions, or training.")
    worker_.add_argument("--queue", choices=(SCORE_QUEUE, TRAIN_QUEUE), default=SCORE_QUEUE)
    supervised(worker_)

    schedule = command("beat", beat, "Run the schedule, which sends the regular jobs.")
    supervised(schedule)

    health = command("ping", ping, "Tell whether a worker on this machine answers; for health checks.")
    health.add_argument("--queue", choices=(SCORE_QUEUE, TRAIN_QUEUE), default=SCORE_QUEUE)

    command(
        "migrate", migrate, "Bring the database up to date; make the first administrator in an empty one."
    )
    command("services", services, "Run only the embedded PostgreSQL and Redis, and print their addresses.")
    command("demo", lambda _: demo([]), "Play the annotator on the demo project and print the figures.")

    people = commands.add_parser("admin", help="Make accounts and reset passwords.")
    actions = people.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser("create-user", help="make an account and print its password")
    create.add_argument("email")
    create.add_argument("name")
    create.add_argument("--admin", action="store_true", help="let the user administer the whole service")
    create.set_defaults(run=create_user)
    reset = actions.add_parser("reset-password", help="give an account a new password and print it")
    reset.add_argument("email")
    reset.set_defaults(run=reset_password)
    return whole


def up(options: argparse.Namespace) -> None:
    """Services, migrations, then workers, schedule and web process as children until Ctrl-C."""
    settings = _configure(options)
    _require_free_port(settings)
    with _started_services(settings) as services:
        settings = get_settings()
        print("newfound: bringing the database up to date", flush=True)
        first_admin = _prepare_database(settings)
        # Said again at the end; whoever stops it before that must not be locked out.
        print(f"newfound: {_login_line(first_admin)}", flush=True)
        children = [
            _child("worker", "--queue", SCORE_QUEUE),
            _child("worker", "--queue", TRAIN_QUEUE, name="train"),
            _child("beat"),
            _child("api"),
        ]
        console = Console(sys.stdout, ["worker", "train", "beat", "api", "services", "demo"])
        supervisor = Supervisor(children, environment=os.environ, console=console, services=services)
        supervisor.run(_welcome(supervisor, settings, first_admin, with_demo=options.demo))
    print("newfound: stopped", flush=True)


def _welcome(
    supervisor: Supervisor, settings: Settings, first_admin: tuple[str, str] | None, *, with_demo: bool
) -> Iterator[None]:
    """Wait until the service answers, have the demo project made if asked for, say where it is."""
    address = f"http://{_visible_host(settings.host)}:{settings.port}"
    while not _answers(f"{address}/health"):
        yield
    lines = [f"newfound is ready: {address}", _login_line(first_admin)]
    if with_demo:
        print(f"newfound: answers at {address}; the demo project comes next", flush=True)
        supervisor.add(Child("demo", (sys.executable, "-P", "-m", "demo", "create"), keep=False))
        while (code := supervisor.exit_code("demo")) is None:
            yield
        if code:
            lines.append(f"The demo project was not made ({describe_exit(code)}); the lines above say why.")
    print("", *lines, "", sep="\n", flush=True)


def _login_line(first_admin: tuple[str, str] | None) -> str:
    if first_admin is None:
        return "Password forgotten? `newfound admin reset-password EMAIL` makes a new one."
    return "Log in as {} with the password {} (shown at the first start only).".format(*first_admin)


def api(options: argparse.Namespace) -> None:
    """The web process."""
    settings = _configure(options)
    _join_services(settings)
    _require_free_port(settings)
    os.umask(PRIVATE)
    allow_open_files()
    # Here, because no other command needs the pages and FastAPI.
    from server.app import create_app

    uvicorn.run(
        create_app(get_settings()),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def allow_open_files() -> None:
    """As many as the system lets us: each larger file of an upload is one while its request lasts, and the
    customary 1,024 are fewer than some uploads at once may bring."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def worker(options: argparse.Namespace) -> None:
    """Become the worker, which the web process's code never imports."""
    settings = _configure(options)
    _join_services(settings)
    os.umask(PRIVATE)
    cores = os.cpu_count() or 1
    is_training = options.queue == TRAIN_QUEUE
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(max(1, cores // 2) if is_training else 1))
    if is_training:
        # Training may take its time; scores and predictions may not.
        os.nice(TRAIN_NICENESS)
    _become("worker", "--queue", options.queue)


def beat(options: argparse.Namespace) -> None:
    """The schedule. It keeps nothing on disk: every job of it looks at the rows for what is due."""
    settings = _configure(options)
    _join_services(settings)
    setup_logging.connect(_keep_our_logging)
    celery_app().Beat(scheduler="celery.beat:Scheduler", quiet=True).run()


def _keep_our_logging(**_: object) -> None:
    """Celery configures logging by itself unless somebody listens to its signal."""


def ping(options: argparse.Namespace) -> None:
    """Fail unless a worker of the queue answers from this machine."""
    settings = _configure(options)
    _join_services(settings)
    name = worker_name(options.queue)
    if not celery_app().control.ping(destination=[name], timeout=PING_SECONDS):
        raise CommandError(f"{name} does not answer within {PING_SECONDS:g} seconds.")
    print(f"{name} answers")


def migrate(options: argparse.Namespace) -> None:
    """Bring the database up to date."""
    with _services_for_a_moment(_configure(options)) as settings:
        first_admin = _prepare_database(settings)
    print("The database is up to date.")
    if first_admin:
        print(_login_line(first_admin))


def services(options: argparse.Namespace) -> None:
    """The embedded services alone, until Ctrl-C."""
    settings = _configure(options)
    with embedded.start(settings.home) as running:
        for name, value in zip(ADDRESS_VARIABLES, (running.database_url, running.redis_url), strict=True):
            print(f"export {name}={shlex.quote(value)}", flush=True)
        console = Console(sys.stderr, ["services"])
        Supervisor([], environment=os.environ, console=console, services=running).run()


def demo(arguments: Sequence[str]) -> None:
    """Become the demo, with the addresses of the running service."""
    settings = get_settings()
    if running := embedded.find_running(settings.home):
        _set_addresses(settings, running.database_url, running.redis_url)
    _become("demo", *arguments)


def create_user(options: argparse.Namespace) -> None:
    """Make an account with a random password."""
    password = new_password()
    with (
        _services_for_a_moment(_configure(options)) as settings,
        session_scope(settings.database_url) as session,
    ):
        accounts.create_user(session, options.email, options.name, password, options.admin)
    print(f"Log in as {options.email} with the password {password} (shown this once).")


def reset_password(options: argparse.Namespace) -> None:
    """Give an account a new random password."""
    with (
        _services_for_a_moment(_configure(options)) as settings,
        session_scope(settings.database_url) as session,
    ):
        password = accounts.reset_password(session, options.email)
    print(f"Log in as {options.email} with the password {password} (shown this once).")


def _configure(options: argparse.Namespace) -> Settings:
    """Settings of this command: the environment, and over it the command line. Children inherit them."""
    if supervisor := getattr(options, "supervisor", None):
        end_with(supervisor)
    for name in ("host", "port"):
        if (value := getattr(options, name, None)) is not None:
            os.environ[f"NEWFOUND_{name.upper()}"] = str(value)
    get_settings.cache_clear()
    settings = get_settings()
    os.environ["NEWFOUND_HOME"] = str(settings.home)
    logging.configure(settings.log_format)
    return settings


def _set_addresses(settings: Settings, database_url: str, redis_url: str) -> None:
    """Let this process and its children use these servers where the user has named none."""
    addresses = (settings.database_url or database_url, settings.redis_url or redis_url)
    os.environ.update(zip(ADDRESS_VARIABLES, addresses, strict=True))
    get_settings.cache_clear()


@contextmanager
def _started_services(settings: Settings) -> Iterator[embedded.Services | None]:
    """The embedded servers, for as long as the block runs; None where the user has servers for both."""
    if settings.database_url and settings.redis_url:
        yield None
        return
    with embedded.start(settings.home) as started:
        _set_addresses(settings, started.database_url, started.redis_url)
        yield started


def _join_services(settings: Settings) -> None:
    """Use the servers that are named, or the embedded ones that run on our home folder."""
    if settings.database_url and settings.redis_url:
        return
    running = embedded.find_running(settings.home)
    if running is None:
        raise CommandError(
            f"No database runs on {settings.home}. Start everything with `newfound up`, or set "
            f"{' and '.join(ADDRESS_VARIABLES)}."
        )
    _set_addresses(settings, running.database_url, running.redis_url)


@contextmanager
def _services_for_a_moment(settings: Settings) -> Iterator[Settings]:
    """Servers for a command that needs them briefly: those that run, else started just for it."""
    if embedded.find_running(settings.home):
        _join_services(settings)
        yield get_settings()
    else:
        with _started_services(settings):
            yield get_settings()


def _prepare_database(settings: Settings) -> tuple[str, str] | None:
    """Migrate; email and password of the first administrator where there was nobody."""
    try:
        migrations.upgrade(settings.database_url)
    except alembic.util.CommandError as error:
        raise CommandError(
            f"The database cannot be brought up to date: {error}. Has a newer newfound written it?"
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        where = sqlalchemy.make_url(settings.database_url).render_as_string(hide_password=True)
        raise CommandError(
            f"The database {where} cannot be used: {str(error.orig).strip()}. newfound needs PostgreSQL 16 "
            "or newer with pgvector and the right to make tables; NEWFOUND_DATABASE_URL names it."
        ) from error
    with session_scope(settings.database_url) as session:
        return accounts.ensure_first_admin(session)


def _child(command: str, *arguments: str, name: str = "") -> Child:
    """This program again with another command, ending when we do."""
    own = (sys.executable, "-P", "-m", "server.cli", command, *arguments, "--supervisor", str(os.getpid()))
    return Child(name or command, own)


def _become(module: str, *arguments: str) -> NoReturn:
    # -P: a folder of that name where the user happens to stand is not ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def _require_free_port(settings: Settings) -> None:
    """Raise ``CommandError`` unless the web process could listen now."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise CommandError(f"NEWFOUND_HOST={settings.host}: {error.strerror}.") from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {settings.host} port {settings.port} ({error.strerror}). Stop what runs "
                "there, or choose another port: `--port` or NEWFOUND_PORT."
            ) from error


def _visible_host(host: str) -> str:
    """The name under which a browser on this machine finds what listens on ``host``."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _answers(url: str) -> bool:
    try:
        # No proxy: it is this very machine.
        return httpx.get(url, timeout=1.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    sys.exit(main())

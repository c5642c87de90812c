"""``newfound up`` and what it is made of: children that are kept, told of and ended in order."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from stack import free_port

from server import embedded, supervisor
from server.database import session_scope
from server.supervisor import Backoff, Child, Console, Supervisor, describe_exit


def python(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def until(condition: Callable[[], object], seconds: float = 30.0) -> Iterator[None]:
    """Steps that end when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        yield
        time.sleep(0.02)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    for _ in until(condition, seconds):
        pass


def supervise(children: list[Child], condition: Callable[[Supervisor, str], object]) -> str:
    """Run the children until the condition holds, then end them; all that was written."""
    output = io.StringIO()
    console = Console(output, [child.name for child in children])
    running = Supervisor(children, environment=os.environ, console=console)

    def steps() -> Iterator[None]:
        yield from until(lambda: condition(running, output.getvalue()))
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    running.run(steps())
    return output.getvalue()


WAITS = "import time; print('here', flush=True); time.sleep(60)"
# Tells when it is asked to end, and does.
POLITE = """
import pathlib, signal, sys, time
log, name = sys.argv[1:]
def end(*_):
    with open(log, "a") as file:
        file.write(name + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("here", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
time.sleep(60)
"""


class TestSupervisor:
    def test_lines_carry_the_name_of_who_wrote_them(self) -> None:
        children = [Child("a", python(WAITS)), Child("longer", python(WAITS))]
        written = supervise(children, lambda _, text: text.count("here") == 2)
        assert sorted(written.splitlines()) == ["a      | here", "longer | here"]

    def test_any_bytes_may_be_written(self) -> None:
        code = "import os, time; os.write(1, b'\\xff\\xfe \\xc3\\xa4\\n'); time.sleep(60)"
        assert "ä" in supervise([Child("a", python(code))], lambda _, text: "\n" in text)

    def test_a_child_that_dies_is_reported_and_started_again(self, tmp_path: Path) -> None:
        code = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(3)"
        starts = tmp_path / "starts"
        written = supervise(
            [Child("a", python(code, starts))], lambda *_: starts.exists() and starts.stat().st_size == 2
        )
        assert "a | ended unexpectedly (exit code 3); starts again in 0.5 s" in written

    def test_children_end_in_reverse_order(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        children = [Child(name, python(POLITE, log, name)) for name in ("worker", "beat", "api")]
        written = supervise(children, lambda _, text: text.count("here") == 3)
        assert log.read_text().split() == ["api", "beat", "worker"]
        assert "unexpectedly" not in written

    def test_a_child_that_does_not_end_is_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
        monkeypatch.setattr(supervisor, "HEAD_START_SECONDS", 0.1)
        begun = time.monotonic()
        supervise([Child("a", python(STUBBORN))], lambda _, text: "here" in text)
        assert time.monotonic() - begun < 30

    def test_a_second_signal_kills_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "GRACE_SECONDS", 600.0)
        monkeypatch.setattr(supervisor, "HEAD_START_SECONDS", 0.1)
        impatient = "import os, signal, sys, time; time.sleep(1); os.kill(int(sys.argv[1]), signal.SIGINT)"
        started = []

        def is_here(_: Supervisor, text: str) -> bool:
            if "here" in text:
                started.append(subprocess.Popen(python(impatient, os.getpid())))
            return bool(started)

        supervise([Child("a", python(STUBBORN))], is_here)
        assert [process.wait() for process in started] == [0]

    def test_a_child_that_is_not_kept_ends_for_good(self) -> None:
        once = Child("once", python("print('done'); raise SystemExit(4)"), keep=False)
        written = supervise([once], lambda running, _: running.exit_code("once") == 4)
        assert written == "once | done\n"

    def test_what_a_child_has_started_goes_with_it(self, tmp_path: Path) -> None:
        code = (
            "import pathlib, subprocess, sys, time\n"
            "started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "pathlib.Path(sys.argv[1]).write_text(str(started.pid))\n"
            "print('here', flush=True); time.sleep(60)"
        )
        supervise([Child("a", python(code, tmp_path / "pid"))], lambda _, text: "here" in text)
        grandchild = int((tmp_path / "pid").read_text())
        wait_until(lambda: not is_running(grandchild))


class TestBackoff:
    def test_doubles_up_to_half_a_minute(self) -> None:
        backoff = Backoff()
        assert [backoff.after(lived=0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]

    def test_is_forgotten_after_a_healthy_life(self) -> None:
        backoff = Backoff()
        for _ in range(5):
            backoff.after(lived=0.1)
        assert backoff.after(lived=61) == 0.5


class TestConsole:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def test_colours_names_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        terminal = self.Terminal()
        Console(terminal, ["api"]).line("api", "hello")
        assert terminal.getvalue() == "\033[36mapi |\033[0m hello\n"

    def test_leaves_colours_where_nobody_wants_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = self.Terminal()
        Console(terminal, ["api"]).line("api", "hello")
        assert terminal.getvalue() == "api | hello\n"

    def test_outlives_its_reader(self) -> None:
        closed = io.StringIO()
        closed.close()
        with pytest.raises(ValueError, match="closed"):
            Console(closed, ["api"])
        output = io.StringIO()
        console = Console(output, ["api"])
        output.close()
        console.line("api", "hello")


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-99, "exit code -99")]
)
def test_describe_exit(code: int, words: str) -> None:
    assert describe_exit(code) == words


class Up:
    """A running ``newfound up`` with its output."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.port = free_port()
        self.log = home.with_suffix(".log")
        self.home = home
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEWFOUND_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "server.cli", "up", "--port", str(self.port), *arguments],
                env={**environment, "NEWFOUND_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def written(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        wait_until(lambda: "newfound is ready" in self.written or self.process.poll() is not None)
        assert "newfound is ready" in self.written, self.written

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", trust_env=False, timeout=5).is_success
        except httpx.TransportError:
            return False

    def child(self, command: str) -> int | None:
        """Process id of the child that runs this command."""
        for pid, arguments in command_lines().items():
            if "server.cli" in arguments and command in arguments and str(self.process.pid) in arguments:
                return pid
        return None

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def command_lines() -> dict[int, list[str]]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
    return found


def is_running(pid: int) -> bool:
    return bool(command_lines().get(pid, [""])[0])


def programs_of(home: Path) -> list[list[str]]:
    """Command lines of the living processes of newfound that were started with this home folder."""
    mark = f"NEWFOUND_HOME={home}".encode()
    found = []
    for pid, arguments in command_lines().items():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and "postgres" not in arguments[0] and "redis" not in arguments[0]:
            found.append(arguments)
    return found


@pytest.fixture
def up(run_folder: Path) -> Iterator[Callable[..., Up]]:
    """Starts ``newfound up``; whatever still runs after the test is ended."""
    started: list[Up] = []

    def start(name: str, *arguments: str) -> Up:
        started.append(Up(run_folder / name, *arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.interrupt()
    for home in {running.home for running in started}:
        # Servers that outlived a killed starter end here.
        embedded.start(home).stop()


class TestUp:
    def test_starts_survives_and_stops(self, up: Callable[..., Up]) -> None:
        first = up("life")
        first.wait_until_ready()
        login = re.search(r"Log in as (\S+@\S+) with the password (\S+) \(shown at the first", first.written)
        assert login, first.written
        assert first.is_healthy()

        refused = newfound("up", "--port", str(free_port()), home=first.home)
        assert refused.returncode == 1
        assert re.fullmatch(r"newfound: newfound already runs on .* NEWFOUND_HOME to .*\n", refused.stderr)

        for queue in ("score", "train"):
            wait_until(
                lambda queue=queue: newfound("ping", "--queue", queue, home=first.home).returncode == 0
            )

        # A child and a service are killed: both come back, and it is said.
        beat = first.child("beat")
        assert beat is not None
        os.kill(beat, signal.SIGKILL)
        addresses = embedded.find_running(first.home)
        assert addresses is not None
        postmaster = int((first.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        wait_until(lambda: first.child("beat") not in (None, beat))
        wait_until(lambda: "postgres ended unexpectedly; starting again" in first.written)
        wait_until(lambda: embedded.find_running(first.home) == addresses)
        assert re.search(r"beat +\| ended unexpectedly \(killed by SIGKILL\)", first.written)
        assert first.is_healthy()

        assert first.interrupt() == 0
        assert first.written.rstrip().endswith("newfound: stopped")
        assert programs_of(first.home) == []
        assert embedded.find_running(first.home) is None

        # The password is shown once in the life of a home folder.
        second = up("life")
        second.wait_until_ready()
        assert "with the password" not in second.written
        assert second.interrupt() == 0

    def test_nothing_but_the_services_outlives_a_killed_supervisor(self, up: Callable[..., Up]) -> None:
        first = up("orphans")
        first.wait_until_ready()
        first.kill()
        wait_until(lambda: not programs_of(first.home))

        second = up("orphans")
        second.wait_until_ready()
        assert second.is_healthy()

    def test_a_taken_port_is_an_error_before_anything_starts(self, run_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = newfound("up", "--port", port, home=run_folder / "untouched")
        assert done.returncode == 1
        assert re.fullmatch(rf"newfound: Cannot listen on 127\.0\.0\.1 port {port} .*--port.*\n", done.stderr)
        assert not (run_folder / "untouched").exists()

    def test_a_wrong_setting_is_named(self, run_folder: Path) -> None:
        done = newfound("up", home=run_folder / "untouched", NEWFOUND_PORT="http")
        assert done.returncode == 1
        assert done.stderr.startswith("newfound: NEWFOUND_PORT='http': ")

    def test_a_database_that_does_not_answer_is_named_without_its_password(self, run_folder: Path) -> None:
        url = f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/images"
        done = newfound("migrate", home=run_folder, NEWFOUND_DATABASE_URL=url, NEWFOUND_REDIS_URL="redis://x")
        assert done.returncode == 1
        assert re.search(
            r"^newfound: The database \S+me:\*\*\*@\S+ cannot be used: .*pgvector", done.stderr, re.DOTALL
        )
        assert "secret" not in done.stderr

    def test_a_database_of_a_newer_version_is_said_to_be_so(
        self, run_folder: Path, fresh_database_url: str
    ) -> None:
        with session_scope(fresh_database_url) as session:
            session.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
        variables = {"NEWFOUND_DATABASE_URL": fresh_database_url, "NEWFOUND_REDIS_URL": "redis://x"}
        done = newfound("migrate", home=run_folder, **variables)
        assert done.returncode == 1
        assert re.match(
            r"newfound: The database cannot be brought up to date: .*from_the_future", done.stderr
        )

    def test_a_single_process_needs_a_database(self, run_folder: Path) -> None:
        done = newfound("worker", home=run_folder / "untouched")
        assert done.returncode == 1
        assert re.search(r"No database runs .* `newfound up`.*NEWFOUND_DATABASE_URL", done.stderr)


class TestAdmin:
    def test_makes_accounts_and_resets_passwords(self, run_folder: Path) -> None:
        home = run_folder / "accounts"
        # Nothing runs: the services are started for this command alone.
        assert "admin@localhost" in newfound("migrate", home=home).stdout
        assert embedded.find_running(home) is None
        with embedded.start(home):
            made = newfound("admin", "create-user", "ada@example.org", "Ada", home=home)
            assert re.fullmatch(r"Log in as ada@example.org with the password \S{10,} .*\n", made.stdout)
            reset = newfound("admin", "reset-password", "ada@example.org", home=home)
            assert re.fullmatch(r"Log in as ada@example.org with the password \S{10,} .*\n", reset.stdout)
            assert reset.stdout != made.stdout
            unknown = newfound("admin", "reset-password", "bob@example.org", home=home)
            assert (unknown.returncode, "bob@example.org" in unknown.stderr) == (1, True)


def newfound(*arguments: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEWFOUND_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "server.cli", *arguments],
        env={**environment, "NEWFOUND_HOME": str(home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )

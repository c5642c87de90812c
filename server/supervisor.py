"""Keeps a handful of processes running, joins their output and ends them in order. No shell, no daemon."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

from server.embedded import EmbeddedServiceError, Services

TICK_SECONDS = 0.1
SERVICE_CHECK_SECONDS = 1.0
# Longer than a batch of pictures takes, shorter than a person waits: a job cut off here is done again.
GRACE_SECONDS = 10.0
# What was started last takes in work, so it goes before what does the work.
HEAD_START_SECONDS = 1.0
_COLOURS = (36, 32, 33, 35, 34, 96, 92)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    """A process to run. ``keep`` False: it ends by itself and is not started again."""

    name: str
    command: Sequence[str]
    keep: bool = True


@dataclass
class Backoff:
    """Seconds to wait before a start: at once short, doubling while the process keeps dying young."""

    shortest: float = 0.5
    longest: float = 30.0
    # A process that lived this long was well; its death says nothing about the next start.
    healthy_after: float = 60.0
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.shortest

    def after(self, lived: float) -> float:
        """The wait after a process that lived ``lived`` seconds."""
        if lived >= self.healthy_after:
            self._next = self.shortest
        wait, self._next = self._next, min(2 * self._next, self.longest)
        return wait


class Console:
    """Writes whole lines, each with the name of who said it; threads may share it."""

    def __init__(self, stream: TextIO, names: Sequence[str]) -> None:
        self._stream = stream
        self._width = max(map(len, names), default=0)
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._codes = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        """Write ``text`` under ``name``."""
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            prefix = f"\033[{self._codes.get(name, 37)}m{prefix}\033[0m"
        # A closed terminal or a pipe nobody reads must not take the service down.
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(f"{prefix} {text}\n")
            self._stream.flush()


class _Running:
    """A child with its process, its restarts and the thread that carries its output."""

    def __init__(self, child: Child, environment: Mapping[str, str], console: Console) -> None:
        self.child = child
        self._environment = environment
        self._console = console
        self._backoff = Backoff()
        self._started_at = 0.0
        self._start_again_at: float | None = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.exit_code: int | None = None

    def tend(self) -> None:
        """Notice a death, start what is due."""
        if self._process is not None and self._process.poll() is not None:
            self._bury(self._process)
        if self._start_again_at is not None and time.monotonic() >= self._start_again_at:
            self._start()

    def _start(self) -> None:
        self._start_again_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            self.child.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C in the terminal reaches the supervisor alone, which ends the children in order.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._carry, args=(self._process,), daemon=True)
        self._reader.start()

    def _carry(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._console.line(self.child.name, line.rstrip("\n"))

    def _bury(self, process: "subprocess.Popen[str]") -> None:
        self._process = None
        if not self.child.keep:
            self.exit_code = process.returncode
            return
        wait = self._backoff.after(time.monotonic() - self._started_at)
        self._start_again_at = time.monotonic() + wait
        self._console.line(
            self.child.name,
            f"ended unexpectedly ({describe_exit(process.returncode)}); starts again in {wait:g} s",
        )

    def ask_to_end(self) -> None:
        """SIGTERM, once; a child that waits for its restart stays down."""
        self._start_again_at = None
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, with whatever the child has started."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether the child has ended within ``seconds``."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(seconds, 0.0))
        if self._process.returncode is None:
            return False
        if self._reader is not None:
            self._reader.join(1.0)
        return True


class Supervisor:
    """Runs children until a signal says stop.

    ``services`` (if embedded) are watched too and started again when they die.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        environment: Mapping[str, str],
        console: Console,
        services: Services | None = None,
    ) -> None:
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._console = console
        self._running = [_Running(child, self._environment, console) for child in children]
        self._services = services
        self._services_backoff = Backoff()
        self._services_checked_at = time.monotonic()
        self._services_died_at = time.monotonic()
        self._signals = 0

    def run(self, meanwhile: Iterable[None] = ()) -> None:
        """Start everything and tend it until SIGINT, SIGTERM or SIGHUP; then end it in order.

        ``meanwhile`` is taken one step further about ten times a second and may ``add`` children.
        """
        steps = iter(meanwhile)
        with self._handled_signals():
            try:
                while not self._signals:
                    for running in self._running:
                        running.tend()
                    self._tend_services()
                    next(steps, None)
                    time.sleep(TICK_SECONDS)
            finally:
                self._stop()

    def add(self, child: Child) -> None:
        """Run one more child from now on."""
        self._running.append(_Running(child, self._environment, self._console))

    def exit_code(self, name: str) -> int | None:
        """Exit code of a child that was not to be kept, once it has ended."""
        return next((running.exit_code for running in self._running if running.child.name == name), None)

    @contextmanager
    def _handled_signals(self) -> Iterator[None]:
        def count(number: int, frame: object) -> None:
            self._signals += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, count) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tend_services(self) -> None:
        now = time.monotonic()
        if self._services is None or now < self._services_checked_at + SERVICE_CHECK_SECONDS:
            return
        self._services_checked_at = now
        dead = self._services.dead()
        if not dead:
            return
        self._console.line("services", f"{' and '.join(dead)} ended unexpectedly; starting again")
        try:
            self._services.revive()
        except EmbeddedServiceError as error:
            wait = self._services_backoff.after(now - self._services_died_at)
            self._services_checked_at = time.monotonic() + wait
            self._console.line("services", f"{error}\nnext try in {wait:g} s")
        self._services_died_at = now

    def _stop(self) -> None:
        """End the children, the last started first; kill who does not go in time or at a second Ctrl-C."""
        signals_before = self._signals
        deadline = time.monotonic() + GRACE_SECONDS
        for running in reversed(self._running):
            running.ask_to_end()
            running.wait(HEAD_START_SECONDS)
        for running in reversed(self._running):
            while not running.wait(TICK_SECONDS):
                if time.monotonic() > deadline or self._signals > signals_before:
                    running.kill()


def describe_exit(code: int) -> str:
    """A return code of ``subprocess`` in words."""
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def end_with(supervisor: int) -> None:
    """Ask the kernel to send this process SIGTERM when its supervisor, its parent, dies.

    Without it a supervisor that is killed would leave a web process on the port and workers behind.
    Linux keeps the wish through ``exec``; other systems have no such call and do without.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != supervisor:
        raise SystemExit("The supervisor has ended.")

"""Start and end the process of a server, and look at those that live."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
STOP_SECONDS = 30.0
# What outlives a killed postmaster: its children, which notice within a moment and end themselves.
ORPHAN_SECONDS = 20.0
LOG_LIMIT_BYTES = 10 * 1024 * 1024


def spawn(command: Sequence[str], log: Path, *, cwd: Path, **as_account: Any) -> "subprocess.Popen[bytes]":
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


def reap(process: "subprocess.Popen[bytes] | None") -> None:
    """Let the kernel forget a child that has ended."""
    if process is not None:
        process.poll()


def bury(process: "subprocess.Popen[bytes] | None") -> None:
    """Wait until a server that no longer serves has ended; kill one that hangs."""
    if process is None:
        return
    try:
        process.wait(ORPHAN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end(
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
        reap(process)
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    if process is not None:
        process.wait()


def works_in(pid: int, folder: Path) -> bool:
    """Whether the living process ``pid`` has ``folder`` as working folder; a zombie has none."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def living_in(folder: Path) -> list[int]:
    """Living processes, of those that this user may look at, that work in ``folder``."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if works_in(pid, folder)]


def tail(log: Path, lines: int = 15) -> str:
    """The last ``lines`` of a log, or why there are none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"

"""The home folder, held by one process at a time, and the private folders of state and sockets."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from server.embedded.accounts import Account, may_enter, unprivileged_account
from server.embedded.errors import EmbeddedServiceError

# Names the folder of PostgreSQL where that is not below the home folder.
POINTER = "postgres.location"
# As root the state of PostgreSQL goes here where its own user may not enter the home folder.
ROOT_STATE = Path("/var/lib/newfound")
# sockaddr_un holds 108 bytes with the closing zero; the longest name below a folder is PostgreSQL's lock.
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432.lock")
SHORT_FOLDERS = Path("/tmp")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]*")


def make_home(home: Path) -> Path:
    """The home folder, absolute. A new one may be passed through by others but not listed.

    Raises:
        EmbeddedServiceError: it cannot be made.
    """
    home = home.expanduser().absolute()
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o711, exist_ok=True)
    except OSError as error:
        raise EmbeddedServiceError(
            f"Cannot make {home} ({error.strerror}). Set NEWFOUND_HOME to a folder where you may write."
        ) from error
    return home


def hold(home: Path) -> IO[str]:
    """An open file whose lock this process holds; the kernel lets it go when the process ends, however.

    Raises:
        EmbeddedServiceError: another process holds ``home``, or nothing can be written in it.
    """
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


def postgres_folder(home: Path) -> Path:
    """Where the cluster lies: ``home/postgres``, or a folder of its own that ``home`` names.

    Started by root under a closed folder (/root, mostly) the server's own user cannot reach ``home``.
    Opening a folder that is not ours is out of the question, so the state lies elsewhere.
    """
    folder, pointer = home / "postgres", home / POINTER
    if pointer.exists():
        return Path(pointer.read_text().strip())
    if folder.exists() or os.geteuid() != 0 or may_enter(unprivileged_account(), home):
        return folder
    elsewhere = ROOT_STATE / secrets.token_hex(6)
    pointer.write_text(f"{elsewhere}\n")
    return elsewhere


def make_private(folder: Path, account: Account) -> None:
    """Make ``folder`` for ``account`` alone, or check that it is so.

    A short socket folder lies in /tmp, where anybody could have put one of that name before.

    Raises:
        EmbeddedServiceError: it belongs to another user, or others may enter it.
    """
    if folder.parent == ROOT_STATE:
        make_root_state()
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


def make_root_state() -> None:
    """Make ``ROOT_STATE``, which every user may enter."""
    ROOT_STATE.mkdir(parents=True, exist_ok=True)
    # Whatever the umask: the folders in it are private, but their owners must get there.
    ROOT_STATE.chmod(0o755)


def socket_folder(preferred: Path) -> Path:
    """``preferred``, or a short folder of fixed name where a socket path would be too long or need quoting.

    A URL, libpq's host list (commas) and kombu each quote in their own way; a plain path needs none.
    """
    path = str(preferred)
    if len(os.fsencode(path)) <= SOCKET_FOLDER_BYTES and _PLAIN_PATH.fullmatch(path):
        return preferred
    return SHORT_FOLDERS / f"newfound-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def remove_short(folder: Path) -> None:
    """Leave no empty socket folder behind in /tmp."""
    if folder.parent == SHORT_FOLDERS:
        with suppress(OSError):
            folder.rmdir()

"""Who runs a server, and where that user may go."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from server.embedded.errors import EmbeddedServiceError


@dataclass(frozen=True)
class Account:
    """The user that a server runs as."""

    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the user of this process."""
        return self.uid == os.geteuid()


def own_account() -> Account:
    """The user of this process."""
    return Account(os.geteuid(), os.getegid())


def server_account(folder: Path) -> Account:
    """Who runs PostgreSQL on ``folder``: we, but PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return own_account()
    if folder.exists():
        found = folder.stat()
        return Account(found.st_uid, found.st_gid)
    return unprivileged_account()


def unprivileged_account() -> Account:
    """The user ``nobody``.

    Raises:
        EmbeddedServiceError: this machine has none.
    """
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedServiceError(
            "PostgreSQL does not run as root and there is no user `nobody`. Start newfound as an ordinary "
            "user, or set NEWFOUND_DATABASE_URL."
        ) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def may_enter(account: Account, path: Path) -> bool:
    """Whether ``account`` may pass through ``path`` and all above it, or run it (by mode bits)."""

    def allowed(part: Path) -> bool:
        found = part.stat()
        if found.st_uid == account.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        bit = stat.S_IXGRP if found.st_gid == account.gid else stat.S_IXOTH
        return bool(found.st_mode & bit)

    real = path.resolve()
    return all(allowed(part) for part in (real, *real.parents))

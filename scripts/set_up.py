"""Make the project's own environment in ``.venv``, or bring it up to date. Needs only a bare Python.

Does nothing where nothing has changed: neither the dependencies nor the Python nor the folder.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "set-up.json"


def main() -> None:
    """Set up with the extras named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="demo, dev")
    wanted = parser.parse_args().extras
    require_python()
    # Another Python, or a checkout that has moved: scripts and links in the environment point nowhere then.
    base = fingerprint(sys.version, sys.base_prefix, str(ROOT))
    requirements = fingerprint(*((ROOT / name).read_text() for name in ("pyproject.toml", "constraints.txt")))
    known = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    works = PYTHON.exists() and subprocess.run([PYTHON, "-c", ""], check=False).returncode == 0
    if works and is_up_to_date(known, base, requirements, wanted):
        return
    print(f"Setting up {ENVIRONMENT} (some minutes the first time).", flush=True)
    if not works or known.get("base", base) != base:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
    STAMP.unlink(missing_ok=True)
    extras = sorted({*wanted, *known.get("extras", [])})
    install(extras)
    STAMP.write_text(json.dumps({"base": base, "requirements": requirements, "extras": extras}))


def require_python() -> None:
    """Stop with the mend where this Python cannot do it."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed, this is "
            f"{sys.version.split()[0]}. Name one: make PYTHON=/path/to/python3"
        )
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit("This Python cannot make environments: install its venv package (on Debian: python3-venv).")


def is_up_to_date(known: dict, base: str, requirements: str, wanted: list) -> bool:
    """Whether the last set-up, as its stamp tells, was for the same things and all that is wanted."""
    same = known.get("base") == base and known.get("requirements") == requirements
    return same and set(wanted) <= set(known["extras"])


def fingerprint(*texts: str) -> str:
    """One short name for all the texts together."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def install(extras: list) -> None:
    """Install the project, to be edited in place, with what it needs."""
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--editable", project]
    if subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONNOUSERSITE": "1"}, check=False).returncode:
        sys.exit(
            "pip could not install what newfound needs; its message above says what. Then run make again."
        )


if __name__ == "__main__":
    main()

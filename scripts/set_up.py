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
STAMP = ENVIRONMENT / "set-up.json"
PYTHON = ENVIRONMENT / "bin" / "python"


def main() -> None:
    """Set up with the extras named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="demo, dev")
    wanted = set(parser.parse_args().extras)
    require_python()
    known = read_stamp()
    base = fingerprint(sys.version, sys.base_prefix, str(ROOT))
    requirements = fingerprint(*((ROOT / name).read_text() for name in ("pyproject.toml", "constraints.txt")))
    if known.get("base") == base and known.get("requirements") == requirements:
        if wanted <= set(known["extras"]):
            return
        wanted |= set(known["extras"])
    print(f"Setting up {ENVIRONMENT} (some minutes the first time).", flush=True)
    if known.get("base") != base:
        # Another Python, or a checkout that has moved: scripts and links in it would point nowhere.
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
    STAMP.unlink(missing_ok=True)
    install(sorted(wanted))
    STAMP.write_text(json.dumps({"base": base, "requirements": requirements, "extras": sorted(wanted)}))


def require_python() -> None:
    """Stop with the mend where this Python cannot do it."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed, this is "
            f"{sys.version.split()[0]}. Name one: make PYTHON=/path/to/python3"
        )
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit("This Python cannot make environments: install its venv package (on Debian: python3-venv).")


def read_stamp() -> dict:
    """What the last set-up has noted; empty if there was none or its environment is damaged."""
    if not STAMP.exists() or not PYTHON.exists():
        return {}
    return json.loads(STAMP.read_text())


def fingerprint(*texts: str) -> str:
    """One short name for all the texts together."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def install(extras: list) -> None:
    """The project itself, to be edited in place, with what it needs."""
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--editable", project]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONNOUSERSITE": "1"})
    if done.returncode:
        sys.exit(
            "pip could not install what newfound needs; its message above says what. Then run make again."
        )


if __name__ == "__main__":
    main()

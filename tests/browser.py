"""Finds the Chromium that browser tests drive; ``python tests/browser.py`` installs one where none is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

VARIABLE = "NEWFOUND_TEST_BROWSER"
DEBIANS_CHROMIUM = Path("/usr/bin/chromium")
# The rest keeps a browser on a machine without network from trying to reach it at every start.
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MEND = (
    f"No Chromium for the browser tests. Set {VARIABLE} to one, or install it: `apt-get install chromium` as "
    "root, or `.venv/bin/playwright install chromium`."
)


def find_browser(playwright: Playwright) -> Path | None:
    """The browser that is named, else Debian's, else Playwright's own; None if there is none."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    candidates = (DEBIANS_CHROMIUM, Path(playwright.chromium.executable_path))
    return next((path for path in candidates if path.exists()), None)


def launch(playwright: Playwright) -> Browser:
    """A headless Chromium.

    Raises:
        FileNotFoundError: there is none; the message says how to get one.
    """
    path = find_browser(playwright)
    if path is None or not path.exists():
        raise FileNotFoundError(f"{VARIABLE}={path}: no such file." if path else MEND)
    # Chromium refuses to put root into its sandbox.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *sandbox])


def main() -> None:
    """Make sure that there is a browser; as root on Debian install one."""
    with sync_playwright() as playwright:
        if find_browser(playwright):
            return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(MEND)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"],
    ):
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode:
            sys.exit(f"`{' '.join(command)}` failed. {MEND}")


if __name__ == "__main__":
    main()

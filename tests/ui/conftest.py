"""The pages in a real browser: the application on a port of its own, a scene, and a page that tells all."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page
from scene import Scene, build
from stack import free_port
from starlette.testclient import TestClient

from server.deps import SESSION_COOKIE
from server.permissions import Role
from server.settings import Settings


@pytest.fixture(scope="module")
def scene(app: FastAPI, settings: Settings) -> Scene:
    """A project with a bit of everything."""
    with TestClient(app) as client:
        return build(settings, client)


@pytest.fixture(scope="module")
def site(app: FastAPI) -> Iterator[str]:
    """Where a browser finds the application."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@dataclass
class Visitor:
    """A person's browser. What a page complains about is collected in ``complaints``."""

    context: BrowserContext
    site: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """A new tab on ``path``."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{path}: {error}"))
        page.on("console", lambda message: self._hear(path, message.type, message.text))
        page.goto(self.site + path)
        return page

    def _hear(self, path: str, kind: str, text: str) -> None:
        # A refused request is reported by the browser itself, and is part of the game in some tests.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(f"{path}: {text}")


@pytest.fixture
def visit(browser: Browser, site: str, scene: Scene) -> Iterator["Visits"]:
    """Opens browsers of people; every page must have been silent at the end."""
    visits = Visits(browser, site, scene)
    yield visits
    for visitor in visits.visitors:
        visitor.context.close()
    assert [complaint for visitor in visits.visitors for complaint in visitor.complaints] == []


class Visits:
    """Makes visitors and remembers them."""

    def __init__(self, browser: Browser, site: str, scene: Scene) -> None:
        self.browser = browser
        self.site = site
        self.scene = scene
        self.visitors: list[Visitor] = []

    def __call__(
        self, role: Role | None = Role.OWNER, *, width: int = 1440, height: int = 900, dark: bool = False
    ) -> Visitor:
        """A person's browser with a window of that size; None: somebody who is not signed in."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(10_000)
        if role is not None:
            cookie = self.scene.cookies[role]
            context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": self.site}])
        self.visitors.append(Visitor(context, self.site))
        return self.visitors[-1]

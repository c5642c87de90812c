"""Turn templates and plain values into pages."""

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from annotation_ui import formats, words
from annotation_ui.forms import login_address, see
from annotation_ui.words import _
from server.errors import NewfoundError, NotAuthenticated
from server.permissions import Permission

FOLDER = Path(__file__).parent
STATIC_FOLDER = FOLDER / "static"


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


# One hash for the whole folder and part of its path: modules import each other by relative address,
# so that an old page never mixes with new modules and everything can be cached for good.
STATIC_PATH = f"/static/{_fingerprint(STATIC_FOLDER)}"


def static_url(name: str) -> str:
    """Address of a file in `static/`; it changes when any of these files changes."""
    return f"{STATIC_PATH}/{name}"


class _ForeverStaticFiles(StaticFiles):
    """Static files whose address carries their content's hash."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def mount_static(app: FastAPI) -> None:
    """Serve style sheets, scripts and icons."""
    app.mount(STATIC_PATH, _ForeverStaticFiles(directory=STATIC_FOLDER), name="static")


def make_environment() -> Environment:
    """Templates that escape by themselves, refuse unknown names and speak through the catalogue."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        words.translations, newstyle=True
    )
    for name in ("number", "score", "short", "percent", "file_size", "seconds", "when", "initials"):
        environment.filters[name] = getattr(formats, name)
    environment.globals.update(
        static=static_url, bar_percent=formats.bar_percent, Permission=Permission, shell=None
    )
    environment.globals["parts"] = environment.get_template("_parts.html").module
    return environment


_environment = make_environment()


def page(template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page made of ``templates/<template>`` and plain values."""
    html = _environment.get_template(template).render(values)
    # A page shows what is true now and is one person's own.
    return HTMLResponse(html, status_code, headers={"cache-control": "no-store"})


def render_error(request: Request, error: NewfoundError) -> Response:
    """The page of an expected error: what failed, what to do, and the way back.

    Who is signed out is asked to sign in, and led to the wanted page afterwards.
    """
    if isinstance(error, NotAuthenticated):
        return see(login_address(request.url.path if request.method == "GET" else "/projects"))
    return page(
        "error.html",
        status_code=error.status_code,
        title=_title(error.status_code),
        message=error.message,
        retry=request.method == "GET" and error.status_code in (429, 503),
        address=request.url.path,
        back=_back(request.url.path),
    )


def render_failure(request: Request, number: str) -> HTMLResponse:
    """The page of a bug (500), with the number to quote."""
    message = _("Nothing was lost. If it goes on, send this number to whoever runs the service: %s.")
    return page(
        "error.html",
        status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
        title=_("That did not work"),
        message=message % number,
        retry=request.method == "GET",
        address=request.url.path,
        back=_back(request.url.path),
    )


def _back(path: str) -> str | None:
    """The project that a failed page lay in, or None."""
    steps = path.split("/")
    return "/".join(steps[:3]) if steps[1] == "projects" and len(steps) > 3 else None


def _title(status_code: int) -> str:
    titles = {
        403: _("Not open to your role"),
        404: _("Nothing here"),
        409: _("Things have changed"),
        413: _("Too large"),
        429: _("Too many tries"),
        503: _("Not ready at the moment"),
        507: _("The disk is full"),
    }
    return titles.get(status_code, _("That cannot be done as it stands"))

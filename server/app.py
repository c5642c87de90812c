"""The web process, put together here and nowhere else."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.middleware import Middleware
from fastapi.security import HTTPBearer
from redis import Redis

from annotation_ui.pages import router as pages
from annotation_ui.render import mount_static, render_error, render_failure
from server import docs, health
from server.accounts import endpoints as accounts
from server.annotations import endpoints as annotations
from server.batches import endpoints as batches
from server.categories import endpoints as categories
from server.error_handlers import ErrorHandlers
from server.errors import InternalError, NewfoundError
from server.http import BodyLimit, Failures, HeadAsGet, RequestLog, SameSite, SecurityHeaders
from server.model_versions import endpoints as model_versions
from server.predictions import endpoints as predictions
from server.projects import endpoints as projects
from server.settings import MIB, Settings, get_settings
from server.storage import ImageStore
from server.work import endpoints as work

API = "/api/v1"
SMALL_BODY = MIB
_UPLOAD = re.compile(rf"{API}/projects/[^/]+/batches(/[^/]+/files)?")
_PREDICTION = re.compile(rf"{API}/projects/[^/]+/predictions")
# Tells the reference page how to send a token; who is asking is decided by ``deps.find_user``.
BEARER = HTTPBearer(auto_error=False, description="An API token, `nf_…`.")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application on ``settings``, by default those of the environment.

    Raises:
        RuntimeError: no database or no Redis is configured.
    """
    settings = settings or get_settings()
    settings.require_services()
    errors = ErrorHandlers(error_page)
    app = FastAPI(
        title="newfound",
        summary="Recognise known classes, find new ones, learn them from the first label.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_lifespan,
        # Outermost first.
        middleware=[
            Middleware(RequestLog),
            Middleware(SecurityHeaders),
            Middleware(Failures, respond=errors.respond),
            Middleware(SameSite, respond=errors.respond),
            Middleware(BodyLimit, limit_of=partial(body_limit, settings), respond=errors.respond),
            Middleware(HeadAsGet),
        ],
    )
    app.state.settings = settings
    app.state.store = ImageStore(settings.images_folder)
    app.state.redis = Redis.from_url(settings.redis_url)
    errors.install(app)
    app.include_router(docs.router)
    app.include_router(health.router, include_in_schema=False)
    app.include_router(api_router(), prefix=API)
    app.include_router(pages)
    mount_static(app)
    return app


def api_router() -> APIRouter:
    """Every feature's endpoints."""
    router = APIRouter()
    router.include_router(health.router)
    features = (accounts, projects, batches, categories, annotations, predictions, model_versions, work)
    for feature in features:
        router.include_router(feature.router, dependencies=[Depends(BEARER)])
    return router


def error_page(request: Request, error: NewfoundError) -> Response:
    """The page that tells a person of ``error``."""
    if isinstance(error, InternalError):
        return render_failure(request, error.details["number"])
    return render_error(request, error)


def body_limit(settings: Settings, path: str, content_type: str) -> int:
    """Bytes that a request to ``path`` may carry: files where files go, else a form or a little JSON."""
    if _UPLOAD.fullmatch(path) and content_type.startswith(batches.MULTIPART):
        return settings.max_request_mib * MIB
    if _PREDICTION.fullmatch(path):
        # One image, which base64 makes a third longer.
        return settings.max_image_mib * MIB * 4 // 3 + SMALL_BODY
    return SMALL_BODY


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.redis.close()

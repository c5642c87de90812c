"""How errors look: one JSON shape under ``/api``, a page everywhere else."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import redis.exceptions
import sqlalchemy.exc
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.errors import Conflict, InvalidInput, NewfoundError, NotFound, TooLarge, Unavailable

logger = structlog.get_logger()

UNIQUE_VIOLATION = "23505"

RenderPage = Callable[[Request, NewfoundError], Response]


def error_response(error: NewfoundError) -> JSONResponse:
    """``{"error": {"code", "message", "details"}}`` with the error's status.

    An endpoint returns this itself where what it has written must be kept: raising rolls back.
    """
    body = {
        "error": {"code": error.code, "message": error.message, "details": jsonable_encoder(error.details)}
    }
    return JSONResponse(body, error.status_code, headers=_headers(error))


class ErrorHandlers:
    """Turns every exception of a request into an answer; ``render_page`` makes those for people."""

    def __init__(self, render_page: RenderPage) -> None:
        self.render_page = render_page

    def respond(self, request: Request, error: NewfoundError) -> Response:
        """The answer for ``error`` in the form that the path speaks."""
        path = request.url.path
        if path.startswith("/api/") or path in ("/health", "/ready"):
            return error_response(error)
        response = self.render_page(request, error)
        response.headers.update(_headers(error))
        return response

    def install(self, app: FastAPI) -> None:
        """Register with ``app`` what each expected exception means."""
        meanings: dict[type[Exception], Callable[[Any], NewfoundError]] = {
            NewfoundError: lambda error: error,
            RequestValidationError: from_validation,
            HTTPException: from_http,
            sqlalchemy.exc.DataError: from_data,
            sqlalchemy.exc.IntegrityError: from_clash,
            sqlalchemy.exc.OperationalError: from_lost_service,
            redis.exceptions.ConnectionError: from_lost_service,
        }
        for kind, translate in meanings.items():
            app.add_exception_handler(kind, self._handler(translate))

    def _handler(self, translate: Callable[[Any], NewfoundError]) -> Callable[[Request, Exception], Response]:
        def handle(request: Request, exception: Exception) -> Response:
            return self.respond(request, translate(exception))

        return handle


def from_validation(exception: RequestValidationError) -> InvalidInput:
    """Names every field at fault. The values stay out: they may be secret or large."""
    if any(error["type"] == "json_invalid" for error in exception.errors()):
        return InvalidInput("The body is not valid JSON.")
    fields = [
        {"field": _field(error["loc"]), "message": _plain(error["msg"])} for error in exception.errors()
    ]
    message = "; ".join(f"{field['field']}: {field['message']}" for field in fields[:3])
    return InvalidInput(message, fields=fields)


def from_http(exception: HTTPException) -> NewfoundError:
    """Errors of the framework itself: no such path, wrong method, a body that cannot be parsed."""
    if exception.status_code == NotFound.status_code:
        return NotFound("There is nothing at this address.")
    if exception.status_code == TooLarge.status_code:
        return TooLarge(str(exception.detail))
    error = NewfoundError(str(exception.detail), code=_code(exception.status_code))
    error.status_code = exception.status_code
    return error


def from_data(exception: sqlalchemy.exc.DataError) -> InvalidInput:
    """A value that PostgreSQL cannot hold, for example text with a NUL in it."""
    logger.info("value_refused_by_database", error=str(exception.orig))
    return InvalidInput("A value cannot be stored: it holds a NUL character or is out of range.")


def from_clash(exception: sqlalchemy.exc.IntegrityError) -> Conflict:
    """Two requests made the same thing at one moment, and the other was first.

    Raises:
        IntegrityError: it is any other broken rule, so a bug.
    """
    if getattr(exception.orig, "sqlstate", None) != UNIQUE_VIOLATION:
        raise exception
    logger.info("clash", error=str(exception.orig))
    return Conflict("Somebody else has just done the same. Look again, then repeat what is still needed.")


def from_lost_service(exception: Exception) -> Unavailable:
    """The database or Redis does not answer."""
    logger.error("service_lost", error=str(exception))
    return Unavailable("The service cannot reach its database just now. Nothing was changed; try again.")


def _headers(error: NewfoundError) -> dict[str, str]:
    wait = getattr(error, "retry_after", None)
    return {"retry-after": str(wait)} if wait is not None else {}


def _field(location: Sequence[int | str]) -> str:
    # The first step says where (body, query, path); the rest is the field.
    return ".".join(str(step) for step in location[1:]) or str(location[0])


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _code(status_code: int) -> str:
    return HTTPStatus(status_code).phrase.lower().replace(" ", "-")

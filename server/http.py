"""HTTP rules that hold for every path: request numbers, security headers, CSRF, body limit, HEAD.

Each is a plain ASGI class that passes bytes on as they come, so that large uploads stay streams.
"""

import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import InternalError, NewfoundError, NotPermitted, TooLarge
from server.settings import MIB

logger = structlog.get_logger()

Respond = Callable[[Request, NewfoundError], Response]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REQUEST_ID_HEADER = "x-request-id"
# A refused body is read on for this much, so that a client which sends before it listens gets the answer.
DRAIN_BYTES = 32 * MIB

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class RequestLog:
    """Gives each request a number that a person can read out, and writes one line when it has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                # Pages poll: what was read without fault must not drown what was done.
                is_routine = scope["method"] in ("GET", "HEAD") and 0 < status < 400
                (logger.debug if is_routine else logger.info)(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )


class SecurityHeaders:
    """Adds the headers that keep a browser strict; an answer that sets one itself keeps its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Failures:
    """Answers 500 with a number to quote where nobody expected the error, and logs it with its trace."""

    def __init__(self, app: ASGIApp, respond: Respond) -> None:
        self.app = app
        self.respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            # Nobody is there to read an answer, and nothing is wrong here.
            logger.info("client_left", path=scope["path"])
        except Exception:
            if scope["type"] != "http" or started:
                raise
            logger.exception("request_failed", path=scope["path"])
            number = scope["state"]["request_id"]
            error = InternalError(
                "That did not work. Nothing was lost. Try again; if it goes on, send this number to whoever "
                f"runs the service: {number}.",
                number=number,
            )
            await self.respond(Request(scope), error)(scope, receive, send)


class SameSite:
    """Refuses changes that another site asks a browser for (CSRF).

    Browsers say where a request comes from; programs send neither header and pass.
    """

    def __init__(self, app: ASGIApp, respond: Respond) -> None:
        self.app = app
        self.respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_cross_site(scope["method"], Headers(scope=scope)):
            error = NotPermitted(
                "This request came from another site. Open newfound itself and try there.", code="cross-site"
            )
            await self.respond(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_cross_site(method: str, headers: Headers) -> bool:
    """Whether a browser on another site sends this change. ``Sec-Fetch-Site`` decides, else ``Origin``."""
    if method in SAFE_METHODS:
        return False
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    return False


class BodyLimit:
    """Refuses bodies over the limit of their path and content type with 413, by the stated length or while
    they arrive."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str, str], int], respond: Respond) -> None:
        self.app = app
        self.limit_of = limit_of
        self.respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self.limit_of(scope["path"], headers.get("content-type", ""))
        body = _CountedBody(receive, limit)
        if _stated_length(headers) > limit:
            await self._refuse(scope, body, send, limit)
            return

        async def send_unless_refused(message: Message) -> None:
            # What the application makes of the torn body is not the answer.
            if not body.is_over:
                await send(message)

        try:
            await self.app(scope, body.receive, send_unless_refused)
        except TooLarge:
            if not body.is_over:
                raise
        if body.is_over:
            await self._refuse(scope, body, send, limit)

    async def _refuse(self, scope: Scope, body: "_CountedBody", send: Send, limit: int) -> None:
        await body.drain()
        error = TooLarge(
            f"The request is larger than {_size(limit)}, the most that this address takes at once. "
            "Send it in smaller parts.",
            limit_bytes=limit,
        )
        await self.respond(Request(scope), error)(scope, body.receive, send)


class _CountedBody:
    """The body of a request, up to ``limit`` bytes."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0
        self._ended = False

    @property
    def is_over(self) -> bool:
        return self._seen > self._limit

    async def receive(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self.is_over:
            raise TooLarge("The body is over its limit.")
        return message

    async def drain(self) -> None:
        """Read on and forget, within bounds."""
        stop = self._seen + DRAIN_BYTES
        while not self._ended and self._seen < stop:
            message = await self._receive()
            self._seen += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)


class HeadAsGet:
    """Answers HEAD wherever GET is answered: the same headers, no body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, send_without_body)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID_HEADER, "")
    if _REQUEST_ID.fullmatch(given):
        return given
    digits = secrets.token_hex(4).upper()
    return f"{digits[:4]}-{digits[4:]}"


def _stated_length(headers: Headers) -> int:
    stated = headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else 0


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count} bytes"

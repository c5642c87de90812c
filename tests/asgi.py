"""Calls an application without a client in between, for what a client cannot send."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.types import ASGIApp, Receive, Scope, Send


def call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """One request, to its end."""

    async def request() -> None:
        await app(scope, receive, send)

    # In a thread of its own: Playwright keeps an event loop running in the main one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, request()).result()

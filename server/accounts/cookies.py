"""The session cookie of a browser."""

from starlette.responses import Response

from server.accounts.service import Login
from server.deps import SESSION_COOKIE
from server.settings import Settings


def set_session_cookie(response: Response, login: Login, settings: Settings) -> None:
    """Hand the login to the browser, out of reach of scripts and of other sites' requests."""
    response.set_cookie(
        SESSION_COOKIE,
        login.token,
        max_age=int(login.lasts.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=settings.https_only,
    )


def clear_session_cookie(response: Response, settings: Settings) -> None:
    """Make the browser forget its login."""
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=settings.https_only)

"""Sign in and out; one's own name, password and API tokens."""

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from annotation_ui.forms import own_address, see
from annotation_ui.render import page
from annotation_ui.views import Shell
from server.accounts import service as accounts
from server.accounts.cookies import clear_session_cookie, set_session_cookie
from server.deps import SESSION_COOKIE, CurrentUser, OptionalUser, SessionDep, SettingsDep
from server.errors import NewfoundError, NotAuthenticated
from server.tables import User

router = APIRouter()
HOME = "/projects"
Text = Annotated[str, Form(max_length=1000)]


@router.get("/")
def home() -> Response:
    """Everything starts at the projects."""
    return see("/projects")


@router.get("/login")
def show_login(user: OptionalUser, wanted: Annotated[str, Query(alias="next")] = HOME) -> Response:
    """The form to sign in; who is signed in already goes on."""
    if user is not None:
        return see(own_address(wanted))
    return page("login.html", next=own_address(wanted), email="", error=None, was_out=wanted != HOME)


@router.post("/login")
def log_in(
    session: SessionDep,
    settings: SettingsDep,
    email: Text = "",
    password: Text = "",
    wanted: Annotated[str, Form(alias="next", max_length=1000)] = HOME,
) -> Response:
    """Sign in, or say what does not match and how many tries are left."""
    try:
        login = accounts.log_in(session, email, password, timedelta(days=settings.session_days))
    except NewfoundError as error:
        return _refuse_login(email, wanted, error)
    if isinstance(login, NotAuthenticated):
        return _refuse_login(email, wanted, login)
    response = see(own_address(wanted))
    set_session_cookie(response, login, settings)
    return response


def _refuse_login(email: str, wanted: str, error: NewfoundError) -> Response:
    return page(
        "login.html",
        status_code=error.status_code,
        next=own_address(wanted),
        email=email,
        error=error.message,
        was_out=False,
    )


@router.post("/logout")
def log_out(request: Request, session: SessionDep, settings: SettingsDep) -> Response:
    """Sign this browser out."""
    if token := request.cookies.get(SESSION_COOKIE):
        accounts.log_out(session, token)
    response = see("/login")
    clear_session_cookie(response, settings)
    return response


@router.get("/account")
def show_account(user: CurrentUser, session: SessionDep) -> Response:
    """The person's own page."""
    return _account(session, user)


@router.post("/account/tokens")
def create_token(user: CurrentUser, session: SessionDep, name: Text = "") -> Response:
    """Make an API token; this page is the only place where it can be read."""
    try:
        _, token = accounts.create_api_token(session, user, name)
    except NewfoundError as error:
        return _account(session, user, error.status_code, token_error=error.message)
    return _account(session, user, token=token)


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(token_id: uuid.UUID, user: CurrentUser, session: SessionDep) -> Response:
    """Make one of one's own tokens useless."""
    accounts.revoke_api_token(session, user, token_id)
    return see("/account")


@router.post("/account/password")
def change_password(user: CurrentUser, session: SessionDep, current: Text = "", new: Text = "") -> Response:
    """Choose another password; every browser has to sign in again."""
    try:
        accounts.change_password(session, user, current, new)
    except NewfoundError as error:
        return _account(session, user, error.status_code, password_error=error.message)
    return see("/login")


def _account(session: Session, user: User, status_code: int = 200, **news: Any) -> Response:
    shown = {"token": None, "token_error": None, "password_error": None, **news}
    return page(
        "account.html",
        status_code=status_code,
        shell=Shell.of_person(user),
        user=user,
        tokens=accounts.list_api_tokens(session, user),
        **shown,
    )

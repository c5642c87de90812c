"""Login, the person logged in, API tokens, and accounts for admins."""

import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from server.accounts import service
from server.accounts.cookies import clear_session_cookie, set_session_cookie
from server.accounts.schemas import LoginIn, NewTokenOut, PasswordIn, TokenIn, TokenOut, UserIn, UserOut
from server.deps import SESSION_COOKIE, CurrentUser, SessionDep, SettingsDep
from server.error_handlers import error_response
from server.errors import NotAuthenticated

router = APIRouter(tags=["accounts"])


@router.post("/sessions", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
def log_in(body: LoginIn, session: SessionDep, settings: SettingsDep) -> Response:
    """Log a browser in. Programs use API tokens instead."""
    login = service.log_in(session, body.email, body.password, timedelta(days=settings.session_days))
    if isinstance(login, NotAuthenticated):
        return error_response(login)
    response = Response(status_code=status.HTTP_204_NO_CONTENT)
    set_session_cookie(response, login, settings)
    return response


@router.delete("/sessions/current", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
def log_out(request: Request, session: SessionDep, settings: SettingsDep) -> Response:
    """Log this browser out."""
    if token := request.cookies.get(SESSION_COOKIE):
        service.log_out(session, token)
    response = Response(status_code=status.HTTP_204_NO_CONTENT)
    clear_session_cookie(response, settings)
    return response


@router.get("/me")
def get_me(user: CurrentUser) -> UserOut:
    """Who is logged in."""
    return UserOut.model_validate(user)


@router.put("/me/password", status_code=status.HTTP_204_NO_CONTENT)
def change_password(body: PasswordIn, user: CurrentUser, session: SessionDep) -> None:
    """Choose another password. Every browser has to log in again."""
    service.change_password(session, user, body.current, body.new)


@router.get("/tokens")
def list_tokens(user: CurrentUser, session: SessionDep) -> list[TokenOut]:
    """One's own API tokens."""
    return [TokenOut.model_validate(row) for row in service.list_api_tokens(session, user)]


@router.post("/tokens", status_code=status.HTTP_201_CREATED)
def create_token(body: TokenIn, user: CurrentUser, session: SessionDep) -> NewTokenOut:
    """Make an API token. This answer is the only place where it can be read."""
    row, token = service.create_api_token(session, user, body.name)
    return NewTokenOut(**TokenOut.model_validate(row).model_dump(), token=token)


@router.delete("/tokens/{token_id}", status_code=status.HTTP_204_NO_CONTENT)
def revoke_token(token_id: uuid.UUID, user: CurrentUser, session: SessionDep) -> None:
    """Make one of one's own tokens useless."""
    service.revoke_api_token(session, user, token_id)


@router.get("/users")
def list_users(
    user: CurrentUser,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[UserOut]:
    """All accounts, for admins."""
    return [
        UserOut.model_validate(row) for row in service.list_users(session, user, limit=limit, offset=offset)
    ]


@router.post("/users", status_code=status.HTTP_201_CREATED)
def create_user(body: UserIn, user: CurrentUser, session: SessionDep) -> UserOut:
    """Make an account, for admins. There is no open sign-up."""
    service.require_admin(user)
    created = service.create_user(
        session, body.email, body.name, body.password, body.is_admin, created_by=user
    )
    return UserOut.model_validate(created)


@router.delete("/users/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def close_account(user_id: uuid.UUID, user: CurrentUser, session: SessionDep) -> None:
    """Shut a person out, for admins. Their labels stay."""
    service.close_account(session, user, user_id)

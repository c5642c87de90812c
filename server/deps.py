"""What an endpoint can ask for, by name."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis
from sqlalchemy.orm import Session

from server.accounts import service as accounts
from server.database import session_scope
from server.errors import NotAuthenticated
from server.permissions import Permission
from server.projects import service as projects
from server.settings import Settings
from server.storage import ImageStore
from server.tables import Project, User

SESSION_COOKIE = "newfound_session"


def get_settings(request: Request) -> Settings:
    """Settings of this application."""
    settings: Settings = request.app.state.settings
    return settings


def get_session(request: Request) -> Iterator[Session]:
    """The request's transaction."""
    with session_scope(request.app.state.settings.database_url) as session:
        yield session


def get_store(request: Request) -> ImageStore:
    """Where image files lie."""
    store: ImageStore = request.app.state.store
    return store


def get_redis(request: Request) -> Redis:
    """The Redis that carries predictions."""
    redis: Redis = request.app.state.redis
    return redis


SettingsDep = Annotated[Settings, Depends(get_settings)]
# scope="function": commit before the answer leaves, so that a failed commit is not answered with 200.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
StoreDep = Annotated[ImageStore, Depends(get_store)]
RedisDep = Annotated[Redis, Depends(get_redis)]


def find_user(request: Request, session: SessionDep) -> User | None:
    """The user of the bearer token or the session cookie, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return accounts.find_user_by_api_token(session, token.strip())
    if cookie := request.cookies.get(SESSION_COOKIE):
        return accounts.find_user_by_session(session, cookie)
    return None


OptionalUser = Annotated[User | None, Depends(find_user)]


# async, as it waits for nothing: a way through another thread would take longer than the function.
async def get_user(user: OptionalUser) -> User:
    """The user, or 401."""
    if user is None:
        raise NotAuthenticated("Log in, or send an API token as `Authorization: Bearer …`.")
    return user


CurrentUser = Annotated[User, Depends(get_user)]


@dataclass(frozen=True)
class ProjectAccess:
    """A project that the user may see, with what the user may do in it."""

    project: Project
    user: User
    permissions: frozenset[Permission]


def require(permission: Permission) -> Callable[..., ProjectAccess]:
    """A dependency: the project of the path, for a member with ``permission``.

    Raises:
        NotFound: no such project, or the user is no member of it; the two look alike on purpose.
        NotPermitted: the member's role lacks the permission.
    """

    def get_access(project_id: uuid.UUID, user: CurrentUser, session: SessionDep) -> ProjectAccess:
        project, permissions = projects.get_for(session, user, project_id, permission)
        return ProjectAccess(project, user, permissions)

    return get_access


ReadProject = Annotated[ProjectAccess, Depends(require(Permission.PROJECT_READ))]
ChangeProject = Annotated[ProjectAccess, Depends(require(Permission.PROJECT_CHANGE))]
ReadImages = Annotated[ProjectAccess, Depends(require(Permission.IMAGE_READ))]
UploadImages = Annotated[ProjectAccess, Depends(require(Permission.IMAGE_UPLOAD))]
Annotate = Annotated[ProjectAccess, Depends(require(Permission.ANNOTATION_CREATE))]
ProposeCategories = Annotated[ProjectAccess, Depends(require(Permission.CATEGORY_PROPOSE))]
ChangeCategories = Annotated[ProjectAccess, Depends(require(Permission.CATEGORY_CHANGE))]
TrainVersions = Annotated[ProjectAccess, Depends(require(Permission.VERSION_TRAIN))]
Predict = Annotated[ProjectAccess, Depends(require(Permission.PREDICTION_CREATE))]

"""People with accounts, tokens and parts in projects, for tests of the API."""

from dataclasses import dataclass
from functools import cache
from uuid import UUID, uuid4

from starlette.testclient import TestClient

from server.accounts import service as accounts
from server.accounts.secrets import hash_password
from server.database import session_scope
from server.permissions import Role
from server.projects import service as projects
from server.settings import Settings
from server.tables import Membership, User

PASSWORD = "correct horse battery"


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)


@dataclass(frozen=True)
class Person:
    """Somebody with an account and an API token."""

    id: UUID
    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What a program of theirs sends."""
        return {"authorization": f"Bearer {self.token}"}


def add_person(settings: Settings, name: str = "Ada", *, is_admin: bool = False) -> Person:
    """A person with a fresh address."""
    with session_scope(settings.database_url) as session:
        email = f"{name.lower()}-{uuid4().hex[:8]}@example.org"
        # Hashing takes its time on purpose; everybody here has the same password.
        user = User(email=email, name=name, password_hash=_password_hash(), is_admin=is_admin)
        session.add(user)
        session.flush()
        _, token = accounts.create_api_token(session, user, "tests")
        return Person(user.id, email, token)


def add_project(settings: Settings, owner: Person, name: str = "Moths") -> UUID:
    """A project of ``owner``."""
    with session_scope(settings.database_url) as session:
        return projects.create(session, session.get_one(User, owner.id), name).id


def add_member(settings: Settings, project_id: UUID, person: Person, role: Role) -> None:
    """Give a person a part in a project."""
    with session_scope(settings.database_url) as session:
        session.add(Membership(project_id=project_id, user_id=person.id, role=role))


@dataclass(frozen=True)
class Team:
    """A project with its owner and one person of each other role."""

    client: TestClient
    settings: Settings
    project_id: UUID
    members: dict[Role, Person]

    @property
    def owner(self) -> Person:
        """Who made the project."""
        return self.members[Role.OWNER]

    @property
    def url(self) -> str:
        """Address of the project in the API."""
        return f"/api/v1/projects/{self.project_id}"


def make_team(client: TestClient, settings: Settings) -> Team:
    """A new project and somebody for each role."""
    members = {role: add_person(settings, role.lower()) for role in Role}
    project_id = add_project(settings, members[Role.OWNER])
    for role, person in members.items():
        if role is not Role.OWNER:
            add_member(settings, project_id, person, role)
    return Team(client, settings, project_id, members)

"""Sends files through the real upload endpoint and reads back what came of them."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from server.accounts import service as accounts
from server.database import session_scope
from server.permissions import Role
from server.projects import service as projects
from server.settings import Settings
from server.tables import JobKind, Membership, User
from server.work import service as work
from worker.ingesting import ingest_batch

Files = Mapping[str, bytes] | list[tuple[str, bytes]]


def pack(members: Files) -> bytes:
    """A zip of these files, deflated."""
    buffer = io.BytesIO()
    pairs = members if isinstance(members, list) else list(members.items())
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pairs:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def parts(files: Files) -> list[tuple[str, tuple[str, bytes]]]:
    """The files as multipart parts."""
    pairs = files if isinstance(files, list) else list(files.items())
    return [("files", (name, data)) for name, data in pairs]


def _person(session: Session) -> tuple[User, str]:
    """A new person with an API token; the password is hashed by nobody, since none logs in with it."""
    user = User(email=f"{uuid4().hex}@example.org", name="Ada", password_hash="-")
    session.add(user)
    session.flush()
    _, token = accounts.create_api_token(session, user, "tests")
    return user, token


@dataclass
class Uploader:
    """A project's owner with a token, who uploads and looks."""

    client: TestClient
    settings: Settings
    project_id: UUID
    headers: dict[str, str]

    @classmethod
    def in_new_project(cls, client: TestClient, settings: Settings) -> "Uploader":
        """An owner of a project without anything in it."""
        with session_scope(settings.database_url) as session:
            user, token = _person(session)
            project = projects.create(session, user, "Moths")
        return cls(client, settings, project.id, {"Authorization": f"Bearer {token}"})

    def as_member(self, role: Role | None) -> "Uploader":
        """Somebody else: a member of the project with this role, or no member."""
        with session_scope(self.settings.database_url) as session:
            user, token = _person(session)
            if role is not None:
                session.add(Membership(project_id=self.project_id, user_id=user.id, role=role))
        return replace(self, headers={"Authorization": f"Bearer {token}"})

    @property
    def url(self) -> str:
        """The project's address."""
        return f"/api/v1/projects/{self.project_id}"

    def response(self, path: str, **params: Any) -> Any:
        """The response to GET under the project."""
        return self.client.get(f"{self.url}{path}", params=params, headers=self.headers)

    def get(self, path: str, **params: Any) -> Any:
        """The answer to GET under the project, which must be 200."""
        answer = self.response(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, files: Files, **fields: str) -> Any:
        """The response to POST of files under the project."""
        return self.client.post(
            f"{self.url}{path}", files=parts(files), data=fields or None, headers=self.headers
        )

    def upload(self, files: Files, kind: str = "unlabelled", batch: str | None = None) -> dict[str, Any]:
        """Send files, let the worker unpack, and return the batch with ``report``, its lines by name."""
        if batch is None:
            answer = self.post("/batches", files, kind=kind)
        else:
            answer = self.post(f"/batches/{batch}/files", files)
        assert answer.status_code in (200, 201), answer.text
        receipt = answer.json()
        ingest_batch(self.settings, UUID(receipt["id"]), run_seconds=600)
        seen = self.get(f"/batches/{receipt['id']}")
        items = self.get(f"/batches/{receipt['id']}/items", limit=1000)["items"]
        return {**receipt, **seen, "report": {item["name"]: item for item in items}}

    def picture(self, image_id: str, size: str) -> bytes:
        """The bytes of a thumb or display copy."""
        answer = self.client.get(f"{self.url}/images/{image_id}/{size}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    def unfinished(self, kind: JobKind, batch_id: str) -> bool:
        """Whether such a job waits or runs for the batch."""
        with session_scope(self.settings.database_url) as session:
            return work.find_unfinished(session, kind, UUID(batch_id)) is not None

"""The REST API as a program outside uses it: a bearer token, JSON and multipart.

Nothing here knows the service's code.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from demo.errors import DemoError

# Uploads are cut into requests of this size, so that a broken line costs one of them.
REQUEST_BYTES = 64 * 1024 * 1024
REQUEST_FILES = 200
TIMEOUT_SECONDS = 120.0
# A busy predictor says 503 with Retry-After; an annotator would wait as well.
MAX_TRIES = 10
# The service closes a connection that rests for five seconds; one that we give up earlier never breaks so.
KEEPALIVE_SECONDS = 2.0
BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)

Json = dict[str, Any]


class ServiceError(DemoError):
    """The service refused a request. ``code`` and ``details`` are those of the API's error."""

    def __init__(self, request: httpx.Request, status: int, error: Json) -> None:
        self.status = status
        self.code = str(error.get("code", ""))
        self.details: Json = error.get("details") or {}
        super().__init__(
            f"{request.method} {request.url.path} answered {status}: "
            f"{error.get('message', 'no reason given')}"
        )


class Client:
    """A connection to one service. May be used by several threads at once."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        # The same holder claims the same picture again, so a client that starts anew needs a new one.
        self._holder = str(uuid.uuid4())
        host = urlsplit(self.url).hostname
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # projects

    def find_project(self, name: str) -> Json | None:
        """The oldest project of this name that the token's user may see."""
        lines = self._paged("/projects")
        return min(
            (line for line in lines if line["name"] == name),
            key=lambda line: line["created_at"],
            default=None,
        )

    def create_project(self, name: str, description: str, round_size: int) -> Json:
        """A new project; its other settings are the service's defaults."""
        body = {"name": name, "description": description, "round_size": round_size}
        return self._json("POST", "/projects", json=body)

    def unfinished_jobs(self, project: str) -> list[Json]:
        """What works in the background of a project."""
        return self._list("GET", f"/projects/{project}/jobs", params={"state": "unfinished"})

    def categories(self, project: str) -> dict[str, Json]:
        """All categories by name."""
        return {one["name"]: one for one in self._paged(f"/projects/{project}/categories")}

    # batches

    def batches(self, project: str) -> list[Json]:
        """The batches of a project."""
        return list(self._paged(f"/projects/{project}/batches"))

    def batch(self, project: str, batch: str) -> Json:
        """One batch with its counts."""
        return self._json("GET", f"/projects/{project}/batches/{batch}")

    def upload(self, project: str, name: str, kind: str, files: Iterable[tuple[str, bytes]]) -> Json:
        """A new batch with files, in as many requests as their size asks for; the batch as it is then."""
        path = f"/projects/{project}/batches"
        batch: Json | None = None
        for part in parts(files):
            form = [("files", (file_name, content)) for file_name, content in part]
            if batch is None:
                batch = self._json("POST", path, data={"name": name, "kind": kind}, files=form)
            else:
                self._json("POST", f"{path}/{batch['id']}/files", files=form)
        if batch is None:
            raise DemoError(f"There is nothing to upload as {name}.")
        return self.batch(project, batch["id"])

    # versions

    def versions(self, project: str) -> list[Json]:
        """The model versions of a project."""
        return self._list("GET", f"/projects/{project}/versions")

    def train(self, project: str) -> Json:
        """Ask for a training; the version that it will make."""
        version: Json = self._json("POST", f"/projects/{project}/versions")["version"]
        return version

    def version(self, project: str, version: str) -> Json:
        """One model version."""
        return self._json("GET", f"/projects/{project}/versions/{version}")

    # queue

    def queue(self, project: str) -> Json:
        """How much waits and how much was done."""
        return self._json("GET", f"/projects/{project}/queue")

    def claim(self, project: str) -> Json | None:
        """The next picture, held for this client; None if none waits."""
        body = {"holder": self._holder}
        answer = self._json("POST", f"/projects/{project}/queue/claim", json=body, repeatable=True)
        task: Json | None = answer["task"]
        return task

    def submit(self, project: str, task: Json, answer: Json) -> Json:
        """The annotator's answer under the task's hold. Raises ServiceError with code ``name-check``."""
        body = {"token": task["token"], **answer}
        path = f"/projects/{project}/queue/{task['id']}/submit"
        # The same answer under the same token is stored once.
        return self._json("POST", path, json=body, repeatable=True)

    def release(self, project: str, task: Json) -> None:
        """Give a picture back unanswered."""
        self._send("POST", f"/projects/{project}/queue/{task['id']}/release", json={"token": task["token"]})

    # predictions

    def predict(self, project: str, name: str, picture: bytes, top_k: int = 1) -> Json:
        """What the service says of a picture that it does not store."""
        return self._json(
            "POST",
            f"/projects/{project}/predictions",
            params={"top_k": top_k},
            files=[("file", (name, picture))],
            repeatable=True,
        )

    def _paged(self, path: str, limit: int = 100) -> Iterator[Json]:
        offset = 0
        while True:
            page = self._list("GET", path, params={"limit": limit, "offset": offset})
            yield from page
            if len(page) < limit:
                return
            offset += limit

    def _list(self, method: str, path: str, **request: Any) -> list[Json]:
        body = self._send(method, path, **request).json()
        items: list[Json] = body["items"] if isinstance(body, dict) else body
        return items

    def _json(self, method: str, path: str, **request: Any) -> Json:
        body: Json = self._send(method, path, **request).json()
        return body

    def _send(self, method: str, path: str, *, repeatable: bool = False, **request: Any) -> httpx.Response:
        for left in reversed(range(MAX_TRIES)):
            try:
                response = self._http.request(method, path, **request)
            except BROKEN as error:
                if left and (repeatable or method == "GET"):
                    continue
                raise DemoError(f"{method} {path} broke off ({error!r}).") from error
            except httpx.ConnectError as error:
                raise DemoError(
                    f"No service answers at {self.url}. Start it with `newfound up`, or name it with --url."
                ) from error
            except httpx.HTTPError as error:
                raise DemoError(
                    f"{method} {path} broke off ({error!r}). Is the service under load?"
                ) from error
            wait = response.headers.get("retry-after")
            if response.status_code not in (429, 503) or wait is None:
                break
            time.sleep(min(float(wait), 10.0))
        if response.is_success:
            return response
        raise ServiceError(response.request, response.status_code, _error_of(response))


def _error_of(response: httpx.Response) -> Json:
    try:
        error: Json = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {"message": f"{response.text[:200]!r}, which is no answer of this service"}
    return error


def parts(files: Iterable[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    """Files in groups of one request each."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for name, content in files:
        if part and (len(part) == REQUEST_FILES or size + len(content) > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append((name, content))
        size += len(content)
    if part:
        yield part

"""kill -9 of the worker in mid-batch, a broker that was down: nothing is lost, nothing doubled."""

import time
from collections.abc import Callable, Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image as Pictures
from sqlalchemy import func, select
from stack import Stack

from server.database import session_scope
from server.tables import (
    AnnotationTask,
    Batch,
    BatchStatus,
    Embedding,
    Feature,
    Image,
    Job,
    JobState,
    Prediction,
)

IMAGES = 400
WAIT_SECONDS = 150.0


def picture(seed: int) -> bytes:
    """A small PNG of its own."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = BytesIO()
    Pictures.fromarray(pixels).resize((64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


class Upload:
    """One batch of a project of its own, sent over REST and looked at in the database."""

    def __init__(self, stack: Stack, client: httpx.Client, name: str) -> None:
        self.stack = stack
        self.client = client
        self.project_id = client.post("/api/v1/projects", json={"name": name}).json()["id"]
        self.batch_id = ""

    def send(self, count: int) -> None:
        files = [("files", (f"{seed}.png", picture(seed), "image/png")) for seed in range(count)]
        answer = self.client.post(
            f"/api/v1/projects/{self.project_id}/batches",
            data={"name": "b", "kind": "unlabelled"},
            files=files,
        )
        assert answer.status_code == 201, answer.text
        self.batch_id = answer.json()["id"]

    def count(self, table: type) -> int:
        """Rows of the batch's images."""
        statement = select(func.count()).select_from(table).join(Image, Image.id == table.image_id)
        with session_scope(self.stack.database_url) as session:
            return session.scalar(statement.where(Image.batch_id == self.batch_id)) or 0

    def status(self) -> BatchStatus:
        with session_scope(self.stack.database_url) as session:
            return session.scalars(select(Batch.status).where(Batch.id == self.batch_id)).one()

    def job_states(self) -> set[JobState]:
        with session_scope(self.stack.database_url) as session:
            return set(session.scalars(select(Job.state).where(Job.target_id == self.batch_id)))


@pytest.fixture
def upload(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Upload]:
    with stack.client() as client:
        yield Upload(stack, client, request.node.name)


class TestKilledWorker:
    def test_its_batch_is_completed_after_restart(self, stack: Stack, upload: Upload) -> None:
        upload.send(IMAGES)
        wait_until(lambda: upload.count(Feature) > IMAGES // 10, "some features are there")

        stack.kill("worker")
        done_before = upload.count(Feature)
        stack.start("worker")
        wait_until(lambda: upload.status() is BatchStatus.SCORED, "the batch is scored")

        assert 0 < done_before < IMAGES
        for table in (Feature, Embedding, Prediction, AnnotationTask):
            assert upload.count(table) == IMAGES, table
        assert upload.job_states() == {JobState.DONE}


class TestBrokerDown:
    def test_an_upload_is_kept_and_scored_when_the_broker_is_back(self, stack: Stack, upload: Upload) -> None:
        stack.stop_broker()
        try:
            upload.send(5)
        finally:
            stack.start_broker()

        wait_until(lambda: upload.status() is BatchStatus.SCORED, "the batch is scored")

        assert upload.count(Prediction) == 5

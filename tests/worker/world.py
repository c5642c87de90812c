"""A project with real rows and files, and a worker that does its messages when a test says so."""

import base64
import hashlib
import json
import uuid
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pictures
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from model.images import WORKING_SIDE, open_picture
from server import jobs
from server.database import session_scope
from server.exploration import vectors
from server.exploration.scores import pack
from server.model_versions import service as versions
from server.tables import (
    AnnotationTask,
    Base,
    Batch,
    BatchKind,
    Category,
    CategoryStatus,
    Image,
    Job,
    JobKind,
    ModelVersion,
    Prediction,
    Project,
    Verdict,
)
from server.tables.base import utc_now
from server.work import service as work
from worker import tasks
from worker.engine import Engine

DIM = 1280


class World:
    """One project. What a method adds is committed; ``work`` does all that has been asked for by then."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.engine = engine
        self.rng = np.random.default_rng(0)
        self.project_id = self.add(Project(name="Test", **settings)).id

    def add(self, row: Any) -> Any:
        with session_scope(self.engine.url) as session:
            session.add(row)
        return row

    def batch(self, kind: BatchKind = BatchKind.UNLABELLED) -> uuid.UUID:
        """An empty batch."""
        return self.add(Batch(project_id=self.project_id, name="b", kind=kind)).id

    def category(self, name: str) -> uuid.UUID:
        """An active category."""
        fields = {"name": name, "name_key": name.casefold(), "status": CategoryStatus.ACTIVE}
        return self.add(Category(project_id=self.project_id, **fields)).id

    def pictures(self, batch_id: uuid.UUID, files: list[bytes]) -> list[uuid.UUID]:
        """Stored image files without features; their scores are asked for."""
        hashes = [hashlib.sha256(file).hexdigest() for file in files]
        for file, sha256 in zip(files, hashes, strict=True):
            self.engine.store.add(sha256, file, open_picture(file, target=WORKING_SIDE))
        with session_scope(self.engine.url) as session:
            return self._images(session, batch_id, hashes)

    def points(self, batch_id: uuid.UUID, features: np.ndarray, category_id: uuid.UUID | None = None):
        """Images that have their features f32[N,1280] already; their scores are asked for."""
        with session_scope(self.engine.url) as session:
            ids = self._images(session, batch_id, [self.rng.bytes(32).hex() for _ in features], category_id)
            vectors.write_features(session, self.engine.extractor.key, pack(ids), features.astype(np.float32))
        return ids

    def look_alikes(
        self, batch_id: uuid.UUID, kind: int, count: int, category_id: uuid.UUID | None = None
    ) -> list[uuid.UUID]:
        """``points`` around the place in feature space that is numbered ``kind``."""
        middle = np.random.default_rng(kind).standard_normal(DIM)
        return self.points(batch_id, middle + 0.7 * self.rng.standard_normal((count, DIM)), category_id)

    def _images(
        self, session: Session, batch_id: uuid.UUID, hashes: list[str], category_id: uuid.UUID | None = None
    ) -> list[uuid.UUID]:
        rows = [
            Image(
                project_id=self.project_id,
                batch_id=batch_id,
                sha256=sha256,
                name=f"{at}.png",
                media_type="image/png",
                byte_size=1,
                width=64,
                height=64,
                category_id=category_id,
                verdict=Verdict.KNOWN if category_id else None,
                labelled_at=utc_now() if category_id else None,
            )
            for at, sha256 in enumerate(hashes)
        ]
        session.add_all(rows)
        session.flush()
        self.ask_for_scores(session, batch_id)
        return [row.id for row in rows]

    def ask_for_scores(self, session: Session, batch_id: uuid.UUID) -> None:
        work.request_job(session, JobKind.SCORE, self.project_id, batch_id)
        jobs.enqueue(session, jobs.SCORE_BATCH, str(batch_id))

    def label(self, image_id: uuid.UUID, category_id: uuid.UUID | None, *, send: bool = True) -> None:
        """Give an image this label, or take its label away."""
        with session_scope(self.engine.url) as session:
            image = session.get_one(Image, image_id)
            concerned = {image.category_id, category_id} - {None}
            image.category_id = category_id
            image.verdict = Verdict.KNOWN if category_id else None
            image.labelled_at = utc_now() if category_id else None
            for one in concerned if send else ():
                jobs.enqueue(session, jobs.UPDATE_MEMORY, str(self.project_id), str(one))

    def request_training(self) -> uuid.UUID:
        """A version that waits for training on the present labels."""
        with session_scope(self.engine.url) as session:
            version, _ = versions.request_training(session, session.get_one(Project, self.project_id), None)
            return version.id

    def work(self) -> None:
        """Do all that is asked for, and what that asks for in turn."""
        while message := self.next_message():
            self.do(message)

    def do(self, message: tuple[str, list[str]]) -> None:
        """Do one message's task."""
        name, arguments = message
        tasks.app.tasks[name](*arguments)

    def next_message(self) -> tuple[str, list[str]] | None:
        """The next message of the queues, taken out."""
        for queue in (jobs.LIVE_QUEUE, jobs.SCORE_QUEUE, jobs.TRAIN_QUEUE):
            if message := self.engine.redis.rpop(queue):
                content = json.loads(message)
                return content["headers"]["task"], json.loads(base64.b64decode(content["body"]))[0]
        return None

    def lose_messages(self) -> None:
        """What a broker does that is restarted without its disk."""
        self.engine.redis.flushdb()

    def rows(self, statement: Select[Any]) -> list[Any]:
        """Rows of a query, in a transaction of its own."""
        with session_scope(self.engine.url) as session:
            return list(session.scalars(statement))

    def all(self, table: type[Base]) -> list[Any]:
        """All rows of a table that belong to the project."""
        return self.rows(select(table).where(table.project_id == self.project_id))

    @property
    def version(self) -> ModelVersion:
        """The active version."""
        with session_scope(self.engine.url) as session:
            version = versions.find_active(session, self.project_id)
        assert version is not None
        return version

    @property
    def predictions(self) -> dict[uuid.UUID, Prediction]:
        """What the active version says, by image."""
        statement = select(Prediction).where(Prediction.model_version_id == self.version.id)
        return {row.image_id: row for row in self.rows(statement)}

    @property
    def queue(self) -> dict[uuid.UUID, AnnotationTask]:
        """Tasks by image, in the order in which they are served."""
        tasks_ = self.all(AnnotationTask)
        return {task.image_id: task for task in sorted(tasks_, key=lambda task: (-task.priority, task.id))}

    def job(self, target_id: uuid.UUID) -> Job:
        """The latest job for a batch or version."""
        return self.rows(select(Job).where(Job.target_id == target_id).order_by(Job.created_at.desc()))[0]


def noise(seed: int, side: int = 48) -> bytes:
    """A PNG file of coarse coloured noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    buffer = BytesIO()
    Pictures.fromarray(pixels).resize((side, side), Pictures.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()

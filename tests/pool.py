"""Rows of a scored pool without a worker: a project with people, categories in memory and a queue.

The space has three dimensions, so that a test can place images by hand.
"""

import hashlib
import itertools
from dataclasses import dataclass
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from server.accounts import service as accounts
from server.permissions import Role
from server.tables import (
    AnnotationTask,
    Batch,
    BatchKind,
    BatchStatus,
    Category,
    CategoryStatus,
    ClassMemoryRow,
    Embedding,
    Image,
    Membership,
    ModelVersion,
    Prediction,
    Project,
    User,
    VersionStatus,
)
from server.tables.base import utc_now

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """A user with a bearer token."""

    user: User
    headers: dict[str, str]


class Pool:
    """A project and what lies in it, added through ``session`` and flushed."""

    def __init__(self, session: Session, name: str = "Groceries", hold_seconds: int = 300) -> None:
        self.session = session
        self.project = self._added(Project(name=name, hold_seconds=hold_seconds))
        self.batch = self._added(
            Batch(
                project_id=self.project.id,
                name="Monday",
                kind=BatchKind.UNLABELLED,
                status=BatchStatus.SCORED,
            )
        )
        self.version: ModelVersion | None = None

    def person(self, role: Role | None = Role.ANNOTATOR, *, is_admin: bool = False) -> Person:
        """A user with this role in the project; None: no member."""
        number = next(_numbers)
        user = self._added(
            User(
                email=f"person{number}@example.org",
                name=f"Person {number}",
                password_hash="none",
                is_admin=is_admin,
            )
        )
        if role is not None:
            self._added(Membership(project_id=self.project.id, user_id=user.id, role=role))
        _, token = accounts.create_api_token(self.session, user, "tests")
        return Person(user, {"Authorization": f"Bearer {token}"})

    def activate_version(self, **values: object) -> ModelVersion:
        """An active version, numbered 1, at revision 4."""
        fields = {
            "number": 1,
            "status": VersionStatus.ACTIVE,
            "backbone": "efficientnet_lite0",
            "memory_revision": 4,
            "activated_at": utc_now(),
        }
        self.version = self._added(ModelVersion(project_id=self.project.id, **fields | values))
        self.project.active_version_id = self.version.id
        self.session.flush()
        return self.version

    def category(
        self, name: str, centroid: tuple[float, float, float] | None = None, **values: object
    ) -> Category:
        """A category; with a centroid also its place in the memory of the version."""
        fields = {"name_key": name.casefold(), "status": CategoryStatus.ACTIVE}
        category = self._added(Category(project_id=self.project.id, name=name, **fields | values))
        if centroid is not None:
            assert self.version is not None
            self._added(
                ClassMemoryRow(
                    model_version_id=self.version.id,
                    category_id=category.id,
                    centroid=np.array(centroid, np.float32),
                    weight=np.array(centroid, np.float32),
                    hallucinator=np.array(centroid, np.float32),
                    count=7,
                    members_hash=0,
                    usual_limit=0.5,
                    revision=1,
                )
            )
        return category

    def image(
        self,
        name: str = "",
        *,
        at: tuple[float, float, float] | None = None,
        unknown_score: float = 0.8,
        category: Category | None = None,
        top: list[tuple[UUID, float]] | None = None,
    ) -> Image:
        """An image; with ``at`` also its place in the space and a prediction."""
        number = next(_numbers)
        image = self._added(
            Image(
                project_id=self.project.id,
                batch_id=self.batch.id,
                sha256=hashlib.sha256(f"{number}".encode()).hexdigest(),
                name=name or f"shelf/{number:05}.jpg",
                media_type="image/jpeg",
                byte_size=1000,
                width=640,
                height=480,
            )
        )
        if at is not None:
            assert self.version is not None
            self._added(
                Embedding(
                    model_version_id=self.version.id, image_id=image.id, vector=np.array(at, np.float16)
                )
            )
            self._added(
                Prediction(
                    model_version_id=self.version.id,
                    image_id=image.id,
                    batch_id=self.batch.id,
                    memory_revision=3,
                    category_id=category and category.id,
                    confidence=0.4,
                    is_known=unknown_score < 0.5,
                    unknown_score=unknown_score,
                    openness=0.87,
                    informativeness=0.91,
                    free_energy=0.74,
                    top=[[str(one), probability] for one, probability in top or []],
                    nearest=[],
                )
            )
        return image

    def task(self, image: Image | None = None, priority: float = 0.0, **reason: object) -> AnnotationTask:
        """A waiting task, of a new image unless one is given."""
        image = image or self.image()
        return self._added(
            AnnotationTask(
                project_id=self.project.id,
                image_id=image.id,
                priority=priority,
                reason={"kind": "unscored"} | reason,
            )
        )

    def queue(self, count: int) -> list[AnnotationTask]:
        """``count`` waiting tasks, the one served first in front."""
        return [self.task(priority=float(-place)) for place in range(count)]

    def long_queue(self, count: int) -> None:
        """``count`` waiting tasks of random priority, quickly."""
        values = {"project": self.project.id, "batch": self.batch.id, "count": count}
        for statement in (
            "INSERT INTO images (id, project_id, batch_id, sha256, name, media_type, byte_size, width,"
            " height, created_at) SELECT gen_random_uuid(), :project, :batch, n::text, 'long', 'image/jpeg',"
            " 1, 1, 1, now() FROM generate_series(1, :count) n",
            "INSERT INTO annotation_tasks (id, project_id, image_id, state, priority, is_control, reason,"
            " created_at) SELECT gen_random_uuid(), project_id, id, 'OPEN', random(), false, '{}', now()"
            " FROM images WHERE project_id = :project AND name = 'long'",
        ):
            self.session.execute(text(statement), values)

    def tasks(self) -> list[AnnotationTask]:
        """All tasks as they are in the database now."""
        statement = select(AnnotationTask).where(AnnotationTask.project_id == self.project.id)
        return list(self.session.scalars(statement.execution_options(populate_existing=True)))

    def _added(self, row):
        if getattr(row, "id", 0) is None:
            row.id = uuid4()
        self.session.add(row)
        self.session.flush()
        return row

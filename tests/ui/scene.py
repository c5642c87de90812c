"""A project with a bit of everything, for tests of pages: people, batches, scores, a queue, versions."""

import io
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from server.accounts import service as accounts
from server.accounts.secrets import hash_password, hash_token, new_token
from server.database import session_scope
from server.permissions import Role
from server.projects import service as projects
from server.settings import Settings
from server.tables import (
    AnnotationTask,
    BrowserSession,
    Category,
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

PASSWORD = "correct horse battery"
# What an attacker, or simply a careless person, calls a thing.
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;</script>"
DIMENSIONS = 8
KNOWN = {"Mango": 6, "Avocado": 5, "Conference pear": 4, "Lime": 3, "Pomegranate": 2}


@dataclass
class Scene:
    """Ids of what was made, and a session cookie for each role."""

    settings: Settings
    project_id: uuid.UUID
    labelled_id: uuid.UUID
    batch_id: uuid.UUID
    category_id: uuid.UUID
    version_id: uuid.UUID
    empty_project_id: uuid.UUID
    foreign_project_id: uuid.UUID
    cookies: dict[Role, str] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Address of the project's overview."""
        return f"/projects/{self.project_id}"

    @property
    def pages(self) -> dict[str, str]:
        """Every page that an owner can look at, by name."""
        home, empty = self.home, f"/projects/{self.empty_project_id}"
        return {
            "projects": "/projects",
            "new-project": "/projects/new",
            "overview": home,
            "overview-empty": empty,
            "batches": f"{home}/batches",
            "batches-empty": f"{empty}/batches",
            "upload": f"{home}/batches/new",
            "upload-more": f"{home}/batches/new?batch={self.batch_id}",
            "batch": f"{home}/batches/{self.batch_id}",
            "batch-filtered": f"{home}/batches/{self.batch_id}?flag=known&order=newest",
            "batch-unmatched": f"{home}/batches/{self.batch_id}?category={self.category_id}",
            "batch-unscored": f"{home}/batches/{self.labelled_id}",
            "report": f"{home}/batches/{self.batch_id}/report",
            "report-empty": f"{home}/batches/{self.labelled_id}/report?outcome=REFUSED",
            "annotate": f"{home}/annotate",
            "annotate-empty": f"{empty}/annotate",
            "categories": f"{home}/categories",
            "categories-unmatched": f"{home}/categories?q=zzz",
            "categories-empty": f"{empty}/categories",
            "category": f"{home}/categories/{self.category_id}",
            "models": f"{home}/models",
            "models-empty": f"{empty}/models",
            "account": "/account",
            "error": f"{home}/nowhere",
        }


def build(settings: Settings, client: TestClient) -> Scene:
    """Fill the database of ``settings``; images go in over the API of ``client``, as those of people do."""
    rng = np.random.default_rng(0)
    with session_scope(settings.database_url) as session:
        people = {role: _person(session, role) for role in Role}
        owner = people[Role.OWNER]
        project = projects.create(session, owner, "Grocery shelves", description="Products on shelves")
        empty = projects.create(session, owner, HOSTILE)
        foreign = projects.create(session, people[Role.VIEWER], "Somebody else's")
        for role, person in people.items():
            if role is not Role.OWNER:
                session.add(Membership(project_id=project.id, user_id=person.id, role=role))
        _, token = accounts.create_api_token(session, owner, "scene")
        cookies = {role: _sign_in(session, person) for role, person in people.items()}
    upload = _Uploader(client, str(project.id), token)
    labelled = [
        (f"{name}/{index}.png", picture(rng)) for name, count in KNOWN.items() for index in range(count)
    ]
    labelled_id = upload.batch("Starting set", "labelled", labelled)
    unlabelled = [(f"aisle-3/IMG_{index:04}.png", picture(rng)) for index in range(24)]
    bad = [(f"{HOSTILE}.png", picture(rng)), ("broken.png", b"\x89PNG\r\n\x1a\nnothing")]
    batch_id = upload.batch("Store 14, week 47", "unlabelled", [*unlabelled, *bad, unlabelled[0]])
    version_id = _score(settings, project.id, batch_id, rng)
    with session_scope(settings.database_url) as session:
        category_id = session.scalars(
            select(Category.id).where(Category.project_id == project.id, Category.name == "Mango")
        ).one()
    return Scene(
        settings=settings,
        project_id=project.id,
        labelled_id=labelled_id,
        batch_id=batch_id,
        category_id=category_id,
        version_id=version_id,
        empty_project_id=empty.id,
        foreign_project_id=foreign.id,
        cookies=cookies,
    )


def _person(session: Session, role: Role) -> User:
    # Hashing is slow on purpose; only the owner ever types a password.
    password_hash = hash_password(PASSWORD) if role is Role.OWNER else "none"
    person = User(
        email=f"{role.lower()}-{uuid.uuid4()}@example.org",
        name=f"Ines {role.title()}",
        password_hash=password_hash,
    )
    session.add(person)
    session.flush()
    return person


def _sign_in(session: Session, person: User) -> str:
    token = new_token()
    row = BrowserSession(
        token_hash=hash_token(token), user_id=person.id, expires_at=utc_now() + timedelta(days=1)
    )
    session.add(row)
    return token


def picture(rng: np.random.Generator) -> bytes:
    """A PNG of 96 x 72 px: a disc of one colour on another."""
    ground, disc = rng.integers(0, 256, (2, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:72, :96]
    inside = (rows - rng.integers(20, 52)) ** 2 + (columns - rng.integers(24, 72)) ** 2 < 400
    pixels = np.where(inside[..., None], disc, ground)
    out = io.BytesIO()
    Picture.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


class _Uploader:
    def __init__(self, client: TestClient, project_id: str, token: str) -> None:
        self.client = client
        self.path = f"/api/v1/projects/{project_id}/batches"
        self.headers = {"authorization": f"Bearer {token}"}

    def batch(self, name: str, kind: str, files: list[tuple[str, bytes]]) -> uuid.UUID:
        response = self.client.post(
            self.path,
            data={"name": name, "kind": kind},
            files=[("files", (path, content, "image/png")) for path, content in files],
            headers=self.headers,
        )
        assert response.status_code == 201, response.text
        return uuid.UUID(response.json()["id"])


def _score(
    settings: Settings, project_id: uuid.UUID, batch_id: uuid.UUID, rng: np.random.Generator
) -> uuid.UUID:
    """What training and scoring leave behind, with made-up numbers."""
    now = utc_now()
    with session_scope(settings.database_url) as session:
        categories = session.scalars(
            select(Category).where(Category.project_id == project_id).order_by(Category.name)
        ).all()
        common: dict[str, Any] = {"project_id": project_id, "backbone": "efficientnet_lite0"}
        former = ModelVersion(
            **common, number=1, status=VersionStatus.RETIRED, trained_at=now - timedelta(days=3)
        )
        version = ModelVersion(
            **common,
            number=2,
            status=VersionStatus.ACTIVE,
            parent_id=None,
            trained_at=now - timedelta(hours=5),
            activated_at=now - timedelta(hours=5),
            trained_images=20,
            trained_categories=len(categories),
            memory_revision=18,
            scored_revision=18,
            metrics={
                "held_out_images": 4,
                "accuracy": 0.91,
                "accuracy_by_shot": {"many": None, "medium": 0.94, "few": 0.82},
            },
        )
        failed = ModelVersion(
            **common, number=3, status=VersionStatus.FAILED, error=f"The disk is full. {HOSTILE}"
        )
        session.add_all([former, version, failed])
        session.flush()
        session.get_one(Project, project_id).active_version_id = version.id
        exemplars = {}
        for image in session.scalars(select(Image).where(Image.project_id == project_id)):
            vector = unit(rng)
            session.add(Embedding(model_version_id=version.id, image_id=image.id, vector=vector))
            if image.category_id:
                exemplars.setdefault(image.category_id, image.id)
        for category in categories:
            category.live_at = now
            session.add(
                ClassMemoryRow(
                    model_version_id=version.id,
                    category_id=category.id,
                    centroid=unit(rng),
                    weight=unit(rng),
                    hallucinator=unit(rng),
                    exemplar_image_id=exemplars.get(category.id),
                    count=KNOWN[category.name],
                    members_hash=0,
                    usual_limit=0.62,
                    revision=1,
                )
            )
        for image in session.scalars(select(Image).where(Image.batch_id == batch_id).order_by(Image.name)):
            _predict(session, version, image, categories, rng)
        session.flush()
        return version.id


def _predict(
    session: Session, version: ModelVersion, image: Image, categories: Any, rng: np.random.Generator
) -> None:
    unknown = float(rng.uniform(0.2, 0.95))
    distances = np.sort(rng.uniform(0.5, 1.3, len(categories)))
    nearest = [
        [str(category.id), round(float(d), 3)] for category, d in zip(categories, distances, strict=True)
    ]
    session.add(
        Prediction(
            model_version_id=version.id,
            image_id=image.id,
            batch_id=image.batch_id,
            memory_revision=version.memory_revision,
            category_id=categories[0].id,
            confidence=1 - unknown,
            is_known=unknown < 0.5,
            unknown_score=unknown,
            openness=float(distances[0]),
            informativeness=float(distances[0] / distances[1]),
            free_energy=float(distances[0]) - 0.1,
            top=[[str(category.id), 0.2] for category in categories],
            nearest=nearest,
        )
    )
    session.add(
        AnnotationTask(
            project_id=version.project_id,
            image_id=image.id,
            priority=unknown,
            reason={
                "kind": "new" if unknown >= 0.55 else "known",
                "nearest_id": nearest[0][0],
                "distance": nearest[0][1],
                "usual_limit": 0.62,
                "categories": len(categories),
            },
        )
    )


def unit(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A random direction."""
    vector = rng.standard_normal(DIMENSIONS)
    return vector / np.linalg.norm(vector)

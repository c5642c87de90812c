"""Latency of the annotation loop at 20,000 queued images, from label to live class, and of a re-rank.

``python -m benchmarks.annotation [--images N] [--acts N] [--json FILE]``

Claims and submits go over HTTP to the whole service with 1 and 8 users; the bare claim is the same SQL
statement without the service. Users answer as people do: mostly a known category, now and then a new one.
"""

import threading
import time
import uuid
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks import harness
from server.annotations import queries as annotations
from server.database import session_scope
from server.model_versions import service as versions
from server.settings import get_settings
from server.tables import Annotation, Category, CategoryStatus, Image, JobKind, Verdict
from server.work import service as work
from worker.engine import Engine
from worker.rescoring import rescore
from worker.updating import update_memory

CATEGORIES = 60
USERS = (1, 8)
NEW_CLASSES = 10


def main() -> None:
    """Measure and report."""
    parser = harness.parser("Speed of annotation")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--acts", type=int, default=200, help="claims and submits per number of users")
    options = parser.parse_args()
    with harness.stack() as running:
        engine = Engine(get_settings())
        try:
            report = measure(running, engine, options.images, options.acts)
        finally:
            engine.close()
    report.write(options.json)


def measure(running: Any, engine: Engine, images: int, acts: int) -> harness.Report:
    """Everything on one project, one after the other."""
    project_id, categories = prepare_project(engine, images)
    report = harness.begin(f"Annotation at {images} queued images, {CATEGORIES} categories")
    bare_claims(report, engine, project_id)
    # Re-ranks of the labels given would share the cores with what is measured: they get their own line.
    for users in USERS:
        claimed, submitted = annotate(running, project_id, categories, users, acts)
        report.add(f"claim, {users} at once", claimed, "ms", "wanted: p50 5, p95 15 for one")
        report.add(f"submit, {users} at once", submitted, "ms", "wanted: p50 15, p95 40 for one")
    report.add(
        "first label to class live", label_to_live(running, engine, project_id), "ms", "wanted: p95 1000"
    )
    wait_until_ranked(engine, project_id)
    running.stop("worker")
    reranks(report, engine, project_id)
    return report


def prepare_project(engine: Engine, images: int) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """A project whose images are scored and queued by the service, some categories named."""
    project_id = harness.add_project(engine.url, "annotation")
    features = harness.look_alikes(2 * CATEGORIES, images)
    key = engine.extractor.key
    with session_scope(engine.url) as session:
        batch_id, _ = harness.add_points(session, project_id, key, features)
    categories = []
    for at in range(CATEGORIES):
        with session_scope(engine.url) as session:
            name = f"category {at}"
            category = Category(project_id=project_id, name=name, name_key=name, status=CategoryStatus.ACTIVE)
            session.add(category)
            session.flush()
            categories.append(category.id)
            example = np.random.default_rng(1).standard_normal((2 * CATEGORIES, harness.DIM))[at]
            harness.add_points(session, project_id, key, example[None].astype(np.float32), category.id)
    while True:
        with session_scope(engine.url) as session:
            if work.find_unfinished(session, JobKind.SCORE, batch_id) is None:
                break
        time.sleep(0.2)
    wait_until_ranked(engine, project_id)
    return project_id, categories


def wait_until_ranked(engine: Engine, project_id: uuid.UUID) -> None:
    """Until the service has nothing left to do for the project."""
    quiet = 0
    while quiet < 10:
        with session_scope(engine.url) as session:
            version = versions.find_active(session, project_id)
            quiet = quiet + 1 if version and version.scored_revision == version.memory_revision else 0
        time.sleep(0.2)


def bare_claims(report: harness.Report, engine: Engine, project_id: uuid.UUID) -> None:
    """The claim's statement alone, rolled back each time."""
    lease = {
        "project_id": project_id,
        "user_id": None,
        "holder": None,
        "token": uuid.uuid4(),
        "hold_seconds": 300,
    }
    values = []
    with session_scope(engine.url) as session:
        for _ in range(300):
            with session.begin_nested() as savepoint:
                began = time.perf_counter()
                annotations.execute_claim(session, annotations.CLAIM_HEAD, **lease)
                values.append(1000 * (time.perf_counter() - began))
                savepoint.rollback()
    report.add("bare claim statement", values, "ms")


def annotate(
    running: Any, project_id: uuid.UUID, categories: list[uuid.UUID], users: int, acts: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each claim and each submit of ``users`` who work at once."""
    claimed: list[float] = []
    submitted: list[float] = []

    def user(seed: int) -> None:
        rng = np.random.default_rng(seed)
        url = f"/api/v1/projects/{project_id}/queue"
        with running.client() as client:
            for at in range(3 + acts // users):
                began = time.perf_counter()
                task = client.post(f"{url}/claim", json={}).json()["task"]
                claim = time.perf_counter() - began
                answer = {
                    "token": task["token"],
                    "verdict": Verdict.KNOWN,
                    "category_id": str(categories[rng.integers(len(categories))]),
                }
                began = time.perf_counter()
                client.post(f"{url}/{task['id']}/submit", json=answer).raise_for_status()
                submit = time.perf_counter() - began
                if at >= 3:
                    claimed.append(1000 * claim)
                    submitted.append(1000 * submit)

    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return claimed, submitted


def label_to_live(running: Any, engine: Engine, project_id: uuid.UUID) -> list[float]:
    """Milliseconds from the commit of a new category's first label to the moment it can be predicted."""
    values = []
    url = f"/api/v1/projects/{project_id}/queue"
    with running.client() as client:
        for _ in range(NEW_CLASSES):
            task = client.post(f"{url}/claim", json={}).json()["task"]
            name = uuid.uuid4().hex
            answer = {
                "token": task["token"],
                "verdict": Verdict.NEW,
                "name": name,
                "different_from": [one["category_id"] for one in task["suggestions"]],
            }
            found = client.post(f"{url}/{task['id']}/submit", json=answer)
            found.raise_for_status()
            category_id = found.json()["category"]["id"]
            values.append(1000 * seconds_to_live(engine, uuid.UUID(category_id)))
    return values


def seconds_to_live(engine: Engine, category_id: uuid.UUID) -> float:
    """From the label's row to ``live_at``, both by the clock of the machine."""
    while True:
        with session_scope(engine.url) as session:
            live_at = session.scalar(select(Category.live_at).where(Category.id == category_id))
            labelled_at = session.scalar(
                select(Annotation.created_at).where(Annotation.category_id == category_id)
            )
        if live_at is not None and labelled_at is not None:
            return float((live_at - labelled_at).total_seconds())
        time.sleep(0.01)


def reranks(report: harness.Report, engine: Engine, project_id: uuid.UUID) -> None:
    """Full passes after one label each: memory, scores of all images, places, predictions."""
    memory, passes = [], []
    for at in range(5):
        with session_scope(engine.url) as session:
            image = session.scalars(
                select(Image)
                .where(Image.project_id == project_id, Image.category_id.is_(None))
                .offset(at)
                .limit(1)
            ).one()
            name = uuid.uuid4().hex
            category = Category(project_id=project_id, name=name, name_key=name, status=CategoryStatus.ACTIVE)
            session.add(category)
            session.flush()
            image.category_id, image.verdict = category.id, Verdict.NEW
            category_id = category.id
        memory.append(1000 * harness.timed(partial(update_memory, engine, project_id, category_id)))
        passes.append(1000 * harness.timed(lambda: rescore(engine, project_id)))
    report.add("class memory of one label", memory, "ms", "the head is live from here on")
    report.add("re-rank of the whole pool", passes, "ms", "wanted: 1000")


if __name__ == "__main__":
    main()

"""One training: from the snapshot of labels to the active version.

The run is its row: a message only says "look", so it may be lost, doubled or outlive its run. A worker
that dies leaves the row as it is, and the next one starts the run again from the beginning.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from model.arrays import F32
from model.recogniser import Recogniser
from model.train import TrainConfig, TrainingStopped, train_head
from server.database import session_scope
from server.exploration import queries, vectors
from server.exploration.scores import pack
from server.jobs import TRAIN, enqueue
from server.model_versions import queries as version_queries
from server.model_versions import service as versions
from server.tables import Image, JobKind, ModelVersion, Project, SnapshotLabel
from server.work import service as work
from worker.engine import Engine
from worker.evaluating import hold_out, measure
from worker.locks import only_one
from worker.recognition import Current, rounded
from worker.updating import refresh_category

logger = structlog.get_logger()

PART = 256
SCORE_PART = 4096
FAILED_MESSAGE = (
    "The training stopped with an error of ours; the worker's log says more. "
    "The version before it goes on answering. Train again, and report it if it fails again."
)
UNREADABLE_MESSAGE = (
    "None of the labelled images could be read from the image store. "
    "Restore the missing files, then train again."
)


class TrainingImpossible(Exception):
    """The training cannot be done; the message says why and what to do."""


@dataclass(frozen=True)
class _Snapshot:
    """The labelled images of a run that have features: ids, f32[N,F], category ids as text."""

    image_ids: list[uuid.UUID]
    features: F32
    labels: list[str]


def train(engine: Engine, version_id: uuid.UUID) -> None:
    """Train a version that waits or whose worker has died. Does nothing while it runs elsewhere."""
    with only_one(engine.url, "train", version_id) as is_ours:
        if not is_ours:
            return
        job_id = _start(engine, version_id)
        if job_id is None:
            return
        try:
            _run(engine, version_id, job_id)
        except TrainingStopped:
            logger.info("training_stopped", version_id=str(version_id))
            if engine.stopping.is_set():
                _send_again(engine, version_id)
        except TrainingImpossible as error:
            _fail(engine, version_id, str(error))
        except Exception:
            logger.exception("training_failed", version_id=str(version_id))
            _fail(engine, version_id, FAILED_MESSAGE)


def _start(engine: Engine, version_id: uuid.UUID) -> uuid.UUID | None:
    with session_scope(engine.url) as session:
        waiting = work.find_unfinished(session, JobKind.TRAIN, version_id)
        job = work.start(session, JobKind.TRAIN, version_id)
        if job is None:
            if waiting is not None and waiting.error:
                versions.fail(session, version_id, waiting.error)
            return None
        if versions.mark_training(session, version_id) is None:
            work.cancel(session, job)
            return None
        return job.id


def _send_again(engine: Engine, version_id: uuid.UUID) -> None:
    """This worker shuts down: the next one finds the message."""
    with session_scope(engine.url) as session:
        enqueue(session, TRAIN, str(version_id))


def _fail(engine: Engine, version_id: uuid.UUID, message: str) -> None:
    with session_scope(engine.url) as session:
        versions.fail(session, version_id, message)


class _Progress:
    """Steps done of all steps, written to the job; says when the run has been called off."""

    def __init__(self, engine: Engine, job_id: uuid.UUID) -> None:
        self._engine = engine
        self._job_id = job_id
        self._before = 0
        self.total = 0

    def advance(self, done: int) -> None:
        """Raises ``TrainingStopped`` if the job was cancelled or this worker is to end."""
        with session_scope(self._engine.url) as session:
            alive = work.heartbeat(session, self._job_id, self._before + done, self.total)
        if not alive or self._engine.stopping.is_set():
            raise TrainingStopped

    def fold(self, done: int) -> None:
        """Count a stage of ``done`` steps as behind us."""
        self._before += done
        self.advance(0)

    @property
    def of_training(self) -> Callable[[int, int, float], None]:
        """The callback of ``train_head``."""
        return lambda step, steps, loss: self.advance(step)


def _run(engine: Engine, version_id: uuid.UUID, job_id: uuid.UUID) -> None:
    progress = _Progress(engine, job_id)
    snapshot = _read_snapshot(engine, version_id, progress)
    config = TrainConfig()
    steps = config.steps(len(snapshot.labels))
    progress.total = 2 * steps + len(snapshot.labels)
    progress.fold(len(snapshot.labels))
    metrics = _measure(snapshot, config, progress)
    progress.fold(steps)
    recogniser = train_head(snapshot.features, snapshot.labels, config, progress=progress.of_training)
    engine.recognition.save(version_id, recogniser)
    _score_all(engine, version_id, recogniser, progress)
    _activate(engine, version_id, job_id, recogniser, metrics, config.seed)
    logger.info("version_trained", version_id=str(version_id), images=len(snapshot.labels))


def _read_snapshot(engine: Engine, version_id: uuid.UUID, progress: _Progress) -> _Snapshot:
    """The labels of the run with the features of their images; those that lack them are computed now."""
    statement = (
        select(SnapshotLabel.image_id, SnapshotLabel.category_id, Image.sha256)
        .join(Image, Image.id == SnapshotLabel.image_id)
        .where(SnapshotLabel.model_version_id == version_id)
        .order_by(SnapshotLabel.image_id)
    )
    with session_scope(engine.url) as session:
        rows = session.execute(statement).all()
    progress.total = len(rows)
    features: dict[uuid.UUID, F32] = {}
    for at in range(0, len(rows), PART):
        part = {image_id: sha256 for image_id, _, sha256 in rows[at : at + PART]}
        features |= _features_of(engine, part)
        progress.advance(at)
    found = [(image_id, category_id) for image_id, category_id, _ in rows if image_id in features]
    if not found:
        raise TrainingImpossible(UNREADABLE_MESSAGE)
    return _Snapshot(
        image_ids=[image_id for image_id, _ in found],
        features=np.stack([features[image_id] for image_id, _ in found]),
        labels=[str(category_id) for _, category_id in found],
    )


def _features_of(engine: Engine, hashes: dict[uuid.UUID, str]) -> dict[uuid.UUID, F32]:
    """Features f32[F] of those images that can be read, from the database or computed and kept."""
    key, dim = engine.extractor.key, engine.extractor.dim
    with session_scope(engine.url) as session:
        rows = vectors.read_features(session, key, dim, pack(list(hashes)))
    features = {
        uuid.UUID(bytes=row["image_id"].tobytes()): row["vector"]["values"].astype(np.float32) for row in rows
    }
    missing = [image_id for image_id in hashes if image_id not in features]
    results = [future.result() for future in engine.start_features([hashes[one] for one in missing])]
    readable = [flag for _, flags in results for flag in flags]
    computed = [image_id for image_id, flag in zip(missing, readable, strict=True) if flag]
    if computed:
        values = np.concatenate([part for part, _ in results])
        with session_scope(engine.url) as session:
            vectors.write_features(session, key, pack(computed), values)
        features |= dict(zip(computed, rounded(values), strict=True))
    return features


def _measure(snapshot: _Snapshot, config: TrainConfig, progress: _Progress) -> dict[str, object]:
    """Figures of the same recipe trained without a share of the images, on that share."""
    held_out = hold_out(snapshot.labels, config.seed)
    if not held_out.any():
        return {}
    labels = np.array(snapshot.labels)
    proxy = train_head(
        snapshot.features[~held_out], labels[~held_out].tolist(), config, progress=progress.of_training
    )
    return measure(
        proxy, snapshot.features[held_out], labels[held_out].tolist(), counts=Counter(snapshot.labels)
    )


def _score_all(engine: Engine, version_id: uuid.UUID, recogniser: Recogniser, progress: _Progress) -> None:
    """Embeddings and predictions of all images of the project under the new version, which is not active
    yet: the old scores stay until the new ones are there."""
    while True:
        with session_scope(engine.url) as session:
            version = session.get_one(ModelVersion, version_id)
            if not _embed_missing(session, engine, version, recogniser):
                break
        progress.advance(0)
    with session_scope(engine.url) as session:
        version = session.get_one(ModelVersion, version_id)
        for category in {*recogniser.base.categories}:
            refresh_category(session, recogniser, version, uuid.UUID(category))
    progress.advance(0)
    after = uuid.UUID(int=0)
    while True:
        with session_scope(engine.url) as session:
            version = session.get_one(ModelVersion, version_id)
            rows = vectors.read_embeddings(session, version_id, recogniser.space.dim, after, SCORE_PART)
            if len(rows) == 0:
                break
            _predict(session, _current(session, engine, version), rows["image_id"], rows["vector"]["values"])
        after = uuid.UUID(bytes=rows["image_id"][-1].tobytes())
        progress.advance(0)


def _embed_missing(session: Session, engine: Engine, version: ModelVersion, recogniser: Recogniser) -> bool:
    """Embed some images that the version has not seen. False if there are none."""
    extractor = engine.extractor
    rows = vectors.read_unembedded_features(
        session, version.project_id, version.id, extractor.key, extractor.dim, SCORE_PART
    )
    if len(rows) == 0:
        return False
    v = rounded(recogniser.embed(rows["vector"]["values"].astype(np.float32)))
    vectors.write_embeddings(session, version.id, rows["image_id"], v)
    return True


def _current(session: Session, engine: Engine, version: ModelVersion) -> Current:
    project = session.get_one(Project, version.project_id)
    return engine.recognition.current(session, version, project.temperature)


def _predict(session: Session, current: Current, image_ids: np.ndarray, v: np.ndarray) -> None:
    scores = current.score(image_ids, v.astype(np.float32))
    queries.write_predictions(session, current.version_id, current.revision, scores)


def _activate(
    engine: Engine,
    version_id: uuid.UUID,
    job_id: uuid.UUID,
    recogniser: Recogniser,
    metrics: dict[str, object],
    seed: int,
) -> None:
    """Switch to the version in one transaction, with all labels and images that came while it trained.

    Raises ``TrainingStopped`` if it was called off meanwhile.
    """
    with session_scope(engine.url) as session:
        job = work.hold(session, job_id)
        version = session.get_one(ModelVersion, version_id)
        version_queries.lock_project(session, version.project_id)
        # From here on no image is scored and no memory changed under the former version.
        queries.lock_active(session, version.project_id, to_change=True)
        trained = versions.mark_trained(
            session, version_id, metrics=metrics, runtime_key=engine.extractor.key, seed=seed
        )
        if job is None or trained is None:
            raise TrainingStopped
        while _embed_missing(session, engine, version, recogniser):
            pass
        for category_id in version_queries.list_outdated_categories(session, version):
            refresh_category(session, recogniser, version, category_id)
        rows = vectors.read_unpredicted_embeddings(session, version_id, recogniser.space.dim)
        if len(rows):
            _predict(session, _current(session, engine, version), rows["image_id"], rows["vector"]["values"])
        versions.activate(session, trained, trained.created_by)
        work.finish(session, job)

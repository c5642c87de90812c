"""Scores of a batch: features, embeddings, predictions and places in the queue.

A task works for about two seconds and then sends its own continuation, so that urgent tasks never wait
long and no message outlives its visibility. While one part of the images is written the next is computed
already. Everything is found by what is missing in the database: a task that is repeated, doubled or killed
loses and doubles nothing.
"""

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import structlog
from sqlalchemy.orm import Session

from model.arrays import F32
from server.database import session_scope
from server.exploration import queries, vectors
from server.exploration.queries import Places
from server.exploration.scores import Ids, pack
from server.jobs import SCORE_BATCH, UPDATE_MEMORY, enqueue
from server.model_versions import service as versions
from server.tables import Batch, BatchKind, BatchStatus, JobKind, ModelVersion, Project
from server.work import service as work
from worker.engine import Engine, OtherFeatures
from worker.locks import JobStopped, only_one
from worker.recognition import rounded
from worker.untrained import make_untrained

logger = structlog.get_logger()

SLICE_SECONDS = 2.0
# Images that are computed and written together: a third of the cost per row of parts of 64.
PART = 256
# Features from which a project without classes gets its first version; fewer at the end of a batch.
ENOUGH_FOR_A_SPACE = 512
FIRST = uuid.UUID(int=0)


def score_batch(engine: Engine, batch_id: uuid.UUID) -> None:
    """Score images of a batch for a while. A second call for it at the same time does nothing."""
    with only_one(engine.url, "score", batch_id) as is_ours:
        if is_ours:
            _score_slice(engine, batch_id)
    if is_ours:
        _continue(engine, batch_id)


def _continue(engine: Engine, batch_id: uuid.UUID) -> None:
    """Send the next slice if any work is left. After the lock is free: whoever added work while it was
    held has left the job behind, and its message has found the lock taken."""
    with session_scope(engine.url) as session:
        if not engine.stopping.is_set() and work.find_unfinished(session, JobKind.SCORE, batch_id):
            enqueue(session, SCORE_BATCH, str(batch_id))


@dataclass
class _Run:
    """One slice: where it stands in the batch and what it has found."""

    engine: Engine
    batch_id: uuid.UUID
    project_id: uuid.UUID
    job_id: uuid.UUID
    is_labelled: bool
    has_version: bool
    done: int
    deadline: float
    features: int
    after: uuid.UUID = FIRST
    unreadable: set[uuid.UUID] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether the next slice has to go on."""
        return time.monotonic() >= self.deadline or self.engine.stopping.is_set()

    @property
    def is_ready_for_a_version(self) -> bool:
        """Whether enough features are there to give a project without any version its first one."""
        return not self.has_version and not self.is_labelled and self.features >= ENOUGH_FOR_A_SPACE


@dataclass(frozen=True)
class _Part:
    """Some images of the batch, their features on the way."""

    image_ids: list[uuid.UUID]
    stored: F32
    stored_ids: list[uuid.UUID]
    computing: "list[Future[tuple[F32, list[bool]]]]"


def _score_slice(engine: Engine, batch_id: uuid.UUID) -> None:
    run = _start(engine, batch_id)
    if run is None:
        return
    try:
        while True:
            if _score_parts(run) and run.is_over:
                return
            if not run.has_version and not run.is_labelled and make_untrained(engine, run.project_id):
                run.after = FIRST
            elif _finish_if_done(run):
                return
    except JobStopped:
        logger.info("scoring_cancelled", batch_id=str(batch_id))
    except OtherFeatures as error:
        logger.warning("version_of_another_device", batch_id=str(batch_id), error=str(error))
        _give_up(run, f"No scores: {error}")


def _give_up(run: _Run, message: str) -> None:
    with session_scope(run.engine.url) as session:
        if job := work.hold(session, run.job_id):
            work.fail(session, job, message)
            session.get_one(Batch, run.batch_id).status = BatchStatus.FAILED


def _start(engine: Engine, batch_id: uuid.UUID) -> _Run | None:
    """Open the job, and give all images of the batch a place at the end of the queue."""
    with session_scope(engine.url) as session:
        waiting = work.find_unfinished(session, JobKind.SCORE, batch_id)
        job = work.start(session, JobKind.SCORE, batch_id)
        batch = session.get(Batch, batch_id)
        if batch is None or job is None:
            if batch is not None and waiting is not None:
                batch.status = BatchStatus.FAILED
            return None
        queries.queue_unscored(session, batch_id)
        version = versions.find_active(session, batch.project_id)
        is_labelled = batch.kind is BatchKind.LABELLED
        features = 0 if version else queries.count_features(session, batch_id, engine.extractor.key)
        if version is not None:
            done = queries.count_predicted(session, batch_id, version.id)
        else:
            done = features if is_labelled else 0
        job.total = queries.count_images(session, batch_id)
        return _Run(
            engine=engine,
            batch_id=batch_id,
            project_id=batch.project_id,
            job_id=job.id,
            is_labelled=is_labelled,
            has_version=version is not None,
            done=done,
            deadline=time.monotonic() + SLICE_SECONDS,
            features=features,
        )


def _score_parts(run: _Run) -> bool:
    """Compute one part while the part before it is written, until time or images run out.

    Whether there were any. One part is done even if time has run out already, so every slice gets on.
    """
    ahead = _next_part(run)
    worked = ahead is not None
    while ahead is not None:
        part = ahead
        ahead = None if run.is_over or run.is_ready_for_a_version else _next_part(run)
        _record(run, part)
    return worked


def _next_part(run: _Run) -> _Part | None:
    """The next images of the batch that lack something; their features begin to be computed."""
    engine = run.engine
    key = engine.extractor.key
    with session_scope(engine.url) as session:
        version = versions.find_active(session, run.project_id)
        run.has_version = version is not None
        found = _list_unscored(session, run.batch_id, version, key, run.after, PART)
        if not found:
            return None
        if version is not None:
            engine.require_features_of(version)
        ids = [image_id for image_id, _ in found]
        stored = vectors.read_features(session, key, engine.extractor.dim, pack(ids))
    stored_ids = [uuid.UUID(bytes=one.tobytes()) for one in stored["image_id"]]
    has_features = set(stored_ids)
    missing = [(image_id, sha256) for image_id, sha256 in found if image_id not in has_features]
    run.after = ids[-1]
    return _Part(
        image_ids=[image_id for image_id, _ in missing],
        stored=stored["vector"]["values"].astype(np.float32),
        stored_ids=stored_ids,
        computing=engine.start_features([sha256 for _, sha256 in missing]),
    )


def _list_unscored(
    session: Session,
    batch_id: uuid.UUID,
    version: ModelVersion | None,
    key: str,
    after: uuid.UUID,
    limit: int,
) -> Sequence[tuple[uuid.UUID, str]]:
    """Images without a prediction or, before there is any version, without features."""
    if version is None:
        return queries.list_without_features(session, batch_id, key, after, limit)
    return queries.list_without_prediction(session, batch_id, version.id, after, limit)


def _record(run: _Run, part: _Part) -> None:
    """Write all that is known of a part, in one transaction."""
    results = [future.result() for future in part.computing]
    readable = [flag for _, flags in results for flag in flags]
    computed_ids = [image_id for image_id, flag in zip(part.image_ids, readable, strict=True) if flag]
    run.unreadable |= set(part.image_ids) - set(computed_ids)
    dim = run.engine.extractor.dim
    computed = np.concatenate([np.zeros((0, dim), np.float32), *(features for features, _ in results)])
    image_ids = pack(part.stored_ids + computed_ids)
    features = np.concatenate([part.stored, rounded(computed)])
    with session_scope(run.engine.url) as session:
        if len(computed):
            vectors.write_features(session, run.engine.extractor.key, pack(computed_ids), computed)
        version = queries.lock_active(session, run.project_id)
        if version is not None and len(image_ids):
            record_scores(session, run.engine, version, image_ids, features)
        run.features += len(image_ids)
        # Without a version the features of unlabelled images are only half of the work.
        if version is not None or run.is_labelled:
            run.done += len(image_ids)
        if not work.heartbeat(session, run.job_id, run.done, has_progressed=len(computed) > 0):
            raise JobStopped


def record_scores(
    session: Session, engine: Engine, version: ModelVersion, image_ids: Ids, features: F32
) -> None:
    """Embed and score images under a locked version, and give those in the queue a place.

    Labels that were given before the embeddings existed are handed to the class memory now. Raises
    ``OtherFeatures``.
    """
    engine.require_features_of(version)
    project = session.get_one(Project, version.project_id)
    current = engine.recognition.current(session, version, project.temperature)
    v = current.embed(features)
    vectors.write_embeddings(session, version.id, image_ids, v)
    scores = current.score(image_ids, v)
    queries.write_predictions(session, version.id, current.revision, scores)
    queries.write_places(
        session,
        scores,
        Places.outside_the_round(scores),
        categories=len(current.memory),
        strategy=project.strategy,
        gate=project.gate,
    )
    for category_id in queries.list_labelled_categories(session, image_ids):
        enqueue(session, UPDATE_MEMORY, str(project.id), str(category_id))


def _finish_if_done(run: _Run) -> bool:
    """End the job if nothing is left, under its lock: whoever adds images waits, or came before."""
    with session_scope(run.engine.url) as session:
        job = work.hold(session, run.job_id)
        if job is None:
            return True
        version = versions.find_active(session, run.project_id)
        left = _list_unscored(
            session, run.batch_id, version, run.engine.extractor.key, FIRST, len(run.unreadable) + 1
        )
        if any(image_id not in run.unreadable for image_id, _ in left):
            run.after = FIRST
            return False
        # Images that a later request added while this slice worked were scored without a place.
        queries.queue_unscored(session, run.batch_id)
        if run.unreadable:
            work.fail(session, job, _unreadable_message(len(run.unreadable)))
        else:
            work.finish(session, job)
        session.get_one(Batch, run.batch_id).status = BatchStatus.SCORED
        if version is not None:
            versions.request_rescore(session, run.project_id)
        logger.info("batch_scored", batch_id=str(run.batch_id), images=run.done)
        return True


def _unreadable_message(count: int) -> str:
    images = "1 image" if count == 1 else f"{count} images"
    return (
        f"{images} could not be read from the image store and have no scores; all others have. "
        "Restore the missing files and let the batch go on from its page, or label these images by eye."
    )

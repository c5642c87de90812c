"""The tasks: thin functions by the names of ``server.jobs``, each one transaction script of its own.

Long work takes turns: at most as many batches as the network has threads are ingested or scored at once,
so that some threads of the pool are always free to make a class live.
"""

import threading
import uuid
from collections.abc import Callable
from functools import lru_cache

import structlog
from celery.signals import task_postrun, task_prerun

from server import jobs
from server.settings import get_settings
from worker import ingesting, reconciling, rescoring, scoring, training, updating
from worker.engine import Engine

TURN_SECONDS = 0.5

app = jobs.celery_app()


@lru_cache(maxsize=1)
def engine() -> Engine:
    """This process's engine."""
    return Engine(get_settings())


@lru_cache(maxsize=1)
def turns() -> threading.BoundedSemaphore:
    """Long tasks that may still begin."""
    return threading.BoundedSemaphore(get_settings().worker_threads)


def in_turn(name: str, target_id: str, work: Callable[[], None]) -> None:
    """Do long work if it is its turn, else send its message again for a little later."""
    if not turns().acquire(blocking=False):
        app.send_task(name, args=(target_id,), queue=jobs.QUEUES[name], countdown=TURN_SECONDS)
        return
    try:
        work()
    finally:
        turns().release()


@app.task(name=jobs.INGEST_BATCH)
def ingest_batch(batch_id: str) -> None:
    """Unpack the archives of a batch."""
    in_turn(jobs.INGEST_BATCH, batch_id, lambda: ingesting.ingest_batch(get_settings(), uuid.UUID(batch_id)))


@app.task(name=jobs.SCORE_BATCH)
def score_batch(batch_id: str) -> None:
    """Score a slice of a batch."""
    in_turn(jobs.SCORE_BATCH, batch_id, lambda: scoring.score_batch(engine(), uuid.UUID(batch_id)))


@app.task(name=jobs.UPDATE_MEMORY)
def update_memory(project_id: str, category_id: str) -> None:
    """Make a category's labels live."""
    updating.update_memory(engine(), uuid.UUID(project_id), uuid.UUID(category_id))


@app.task(name=jobs.RESCORE)
def rescore(project_id: str) -> None:
    """Bring a project's pool and queue up to date."""
    rescoring.rescore(engine(), uuid.UUID(project_id))


@app.task(name=jobs.TRAIN)
def train(version_id: str) -> None:
    """Look whether a version waits for training."""
    training.train(engine(), uuid.UUID(version_id))


@app.task(name=jobs.RECONCILE)
def reconcile() -> None:
    """Send again what was lost."""
    reconciling.reconcile(engine())


@task_prerun.connect
def _bind(task_id: str, **_: object) -> None:
    structlog.contextvars.bind_contextvars(job_id=task_id)


@task_postrun.connect
def _unbind(**_: object) -> None:
    structlog.contextvars.clear_contextvars()

"""Background jobs by name. The web process never imports the code of a task, so it never loads torch.

Messages carry ids only and leave after the transaction that asked for them has committed: a worker
always finds the row. Rows hold the truth; what a dead broker loses, ``reconcile`` sends again.
"""

import socket
from functools import lru_cache

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import event
from sqlalchemy.orm import Session

from server.settings import get_settings

logger = structlog.get_logger()

INGEST_BATCH = "ingest_batch"
SCORE_BATCH = "score_batch"
UPDATE_MEMORY = "update_memory"
RESCORE = "rescore"
TRAIN = "train"
RECONCILE = "reconcile"

SCORE_QUEUE = "score"
TRAIN_QUEUE = "train"
# Making a class live must not wait behind a batch that is being scored.
LIVE_QUEUE = "live"
QUEUES = {
    INGEST_BATCH: SCORE_QUEUE,
    SCORE_BATCH: SCORE_QUEUE,
    RESCORE: SCORE_QUEUE,
    UPDATE_MEMORY: LIVE_QUEUE,
    RECONCILE: LIVE_QUEUE,
    TRAIN: TRAIN_QUEUE,
}

_PENDING = "jobs"


def worker_name(queue: str) -> str:
    """Name of this machine's worker of ``queue``. Two on one machine need two, or only one answers a ping."""
    return f"{queue}@{socket.gethostname()}"


@lru_cache
def celery_app() -> Celery:
    """The Celery application, configured for messages that survive a killed worker."""
    app = Celery("newfound", broker=get_settings().celery_broker_url)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        task_routes={name: {"queue": queue} for name, queue in QUEUES.items()},
        broker_connection_retry_on_startup=True,
        # A dead broker must answer the request quickly: the row is committed and reconcile sends again.
        broker_connection_timeout=2,
        task_publish_retry=False,
        # kombu looks for messages of killed workers only every 100 s by default.
        broker_transport_options={
            "visibility_timeout": 60,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,
            "socket_connect_timeout": 2,
        },
        beat_schedule={RECONCILE: {"task": RECONCILE, "schedule": 30.0}},
    )
    return app


def enqueue(session: Session, name: str, *args: str) -> None:
    """Send task ``name`` with id arguments once the session's transaction has committed.

    The same task asked for twice in one transaction is sent once. Do not call it inside
    ``begin_nested()``: a savepoint that alone is rolled back does not take its jobs with it.
    """
    pending: dict[tuple[str, tuple[str, ...]], None] = session.info.setdefault(_PENDING, {})
    pending[name, args] = None


@event.listens_for(Session, "after_commit")
def _send(session: Session) -> None:
    for name, args in session.info.pop(_PENDING, {}):
        try:
            celery_app().send_task(name, args=args, queue=QUEUES[name])
        except (OperationalError, OSError) as error:
            logger.warning("job_not_sent", job=name, args=args, error=str(error))


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_PENDING, None)

"""Sends again what a lost broker or a killed worker dropped. Rows hold the truth."""

import uuid

import structlog

from server.annotations import service as annotations
from server.batches import service as batches
from server.database import session_scope
from server.exploration.memory import list_outdated_memories
from server.exploration.queries import list_to_rescore
from server.jobs import INGEST_BATCH, RESCORE, SCORE_BATCH, TRAIN, UPDATE_MEMORY, enqueue
from server.tables import JobKind
from server.work import service as work
from worker.engine import Engine
from worker.locks import only_one

logger = structlog.get_logger()

TASKS = {
    JobKind.INGEST: INGEST_BATCH,
    JobKind.SCORE: SCORE_BATCH,
    JobKind.TRAIN: TRAIN,
}
EVERYTHING = uuid.UUID(int=0)


def reconcile(engine: Engine) -> None:
    """Free expired holds, and ask again for jobs that have fallen silent, for memories whose images have
    changed and for queues whose order is out of date; remove what lost uploads have left. One run at a time;
    all it asks for is harmless when asked twice."""
    with only_one(engine.url, "reconcile", EVERYTHING) as is_ours:
        if not is_ours:
            return
        with session_scope(engine.url) as session:
            freed = annotations.free_expired(session)
        with session_scope(engine.url) as session:
            stale = work.list_stale(session)
            for job in stale:
                enqueue(session, TASKS[job.kind], str(job.target_id))
            outdated = list_outdated_memories(session)
            for project_id, category_id in outdated:
                enqueue(session, UPDATE_MEMORY, str(project_id), str(category_id))
            lagging = list_to_rescore(session)
            for project_id in lagging:
                enqueue(session, RESCORE, str(project_id))
            swept = batches.sweep_spool(session, engine.settings)
        if freed or stale or outdated or lagging or swept:
            logger.info(
                "reconciled",
                freed_holds=freed,
                jobs=len(stale),
                memories=len(outdated),
                queues=len(lagging),
                lost_uploads=swept,
            )

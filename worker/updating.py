"""Class memory: a label makes its category live, a withdrawal takes it back.

A category's row is a function of the version's snapshot and of the present labels, computed anew each
time: messages may come in any order, twice or late, and the row is the same. The cost is that of one
category's images, not of the pool.
"""

import uuid

import numpy as np
import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session

from model.memory import ClassMemory
from model.recogniser import Recogniser
from server.database import session_scope
from server.exploration import memory as queries
from server.exploration.bulk import Rows
from server.exploration.queries import lock_active
from server.jobs import RESCORE, enqueue
from server.tables import Category, CategoryStatus, ModelVersion
from server.tables.base import utc_now
from worker.engine import Engine

logger = structlog.get_logger()


def update_memory(engine: Engine, project_id: uuid.UUID, category_id: uuid.UUID) -> None:
    """Bring a category's memory in the active version up to date; predictions use it from then on."""
    with session_scope(engine.url) as session:
        version = lock_active(session, project_id, to_change=True)
        # Without a version nothing can be predicted yet; the first one takes all labels in.
        if version is None:
            return
        if refresh_category(session, engine.recognition.recogniser(version.id), version, category_id):
            enqueue(session, RESCORE, str(project_id))
            logger.info(
                "memory_updated",
                project_id=str(project_id),
                category_id=str(category_id),
                revision=version.memory_revision,
            )


def refresh_category(
    session: Session, recogniser: Recogniser, version: ModelVersion, category_id: uuid.UUID
) -> bool:
    """Recompute one category's memory row in a locked version. False if its images have not changed."""
    dim = recogniser.space.dim
    members = queries.read_members(session, version.id, category_id, dim)
    values = members["vector"]["values"].astype(np.float32)
    now, trained = members["now"], members["trained"]
    memory = recogniser.revise(
        ClassMemory.empty(dim), str(category_id), added=values[now & ~trained], removed=values[trained & ~now]
    )
    if session.get_one(Category, category_id).status is CategoryStatus.RETIRED:
        memory = ClassMemory.empty(dim)
    members_hash = int(np.bitwise_xor.reduce(members["hash"][now].astype(np.int64), initial=0))
    if queries.find_members_hash(session, version.id, category_id) == (members_hash if len(memory) else None):
        return False
    version.memory_revision += 1
    if len(memory) == 0:
        queries.delete_memory_row(session, version.id, category_id)
        return True
    queries.write_memory_row(
        session,
        {
            "model_version_id": version.id,
            "category_id": category_id,
            "centroid": memory.centroids[0],
            "weight": memory.weights[0],
            "hallucinator": memory.hallucinators[0],
            "exemplar_image_id": _exemplar(members, memory),
            "count": int(memory.counts[0]),
            "members_hash": members_hash,
            "usual_limit": float(memory.limits[0]),
            "revision": version.memory_revision,
        },
    )
    session.execute(
        update(Category)
        .where(Category.id == category_id, Category.live_at.is_(None))
        .values(live_at=utc_now())
    )
    return True


def _exemplar(members: Rows, memory: ClassMemory) -> uuid.UUID | None:
    """The labelled image nearest to the centroid; None if all that it was learnt from are gone."""
    present = members[members["now"]]
    if len(present) == 0:
        return None
    gaps = np.linalg.norm(present["vector"]["values"].astype(np.float32) - memory.centroids[0], axis=1)
    return uuid.UUID(bytes=present["image_id"][gaps.argmin()].tobytes())

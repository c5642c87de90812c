"""The first version of a project: a space to compare images in, without any trained class.

Classes that people name are hallucinated into it at once; the first training replaces it.
"""

import uuid

import numpy as np
import structlog
from sqlalchemy.orm import Session

from model.recogniser import Recogniser
from server.database import session_scope
from server.exploration import queries, vectors
from server.jobs import SCORE_BATCH, enqueue
from server.model_versions import service as versions
from server.tables import JobKind, ModelVersion
from server.work import service as work
from worker.engine import Engine

logger = structlog.get_logger()

# More images make the mean and the principal directions no better.
MOST_FOR_A_SPACE = 2000


def make_untrained(engine: Engine, project_id: uuid.UUID) -> bool:
    """Give the project its first version, fitted on the features that it has. False if it has a version
    already, or no features. Batches that came before, labelled ones above all, are scored under it."""
    key = engine.extractor.key
    with session_scope(engine.url) as session:
        if versions.find_active(session, project_id) is not None:
            return False
        rows = vectors.read_project_features(
            session, project_id, key, engine.extractor.dim, limit=MOST_FOR_A_SPACE
        )
    if len(rows) == 0:
        return False
    # Fitting takes a second: done before the project is locked.
    recogniser = Recogniser.untrained(rows["vector"]["values"].astype(np.float32))
    with session_scope(engine.url) as session:
        version, made = versions.ensure_untrained(session, project_id, key)
        if made:
            engine.recognition.save(version.id, recogniser)
            score_the_rest(session, version)
            logger.info("untrained_version_made", project_id=str(project_id), images=len(rows))
    return made


def score_the_rest(session: Session, version: ModelVersion) -> None:
    """Ask for scores of the images that an active version has not seen."""
    for batch_id in queries.list_batches_to_score(session, version):
        work.request_job(session, JobKind.SCORE, version.project_id, batch_id)
        enqueue(session, SCORE_BATCH, str(batch_id))

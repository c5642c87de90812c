"""The line of model versions: ask for a training, follow it, switch to a version and back.

The worker trains. It calls, each in a transaction of its own::

    mark_training    QUEUED → TRAINING; None: called off, nothing to do
    mark_trained     TRAINING → CANDIDATE, with its figures
    activate         CANDIDATE → ACTIVE, once the pool has its scores under the new version
    fail             with a reason for people

Until ``activate`` the former version answers and its scores stay. Who needs several of these rows locks
the job first, then the project, then versions.
"""

import uuid
from typing import Any

from sqlalchemy.orm import Session

from server import audit
from server.errors import Conflict, InvalidInput, NotFound
from server.jobs import RESCORE, TRAIN, UPDATE_MEMORY, enqueue
from server.model_versions import queries
from server.model_versions.queries import LabelCounts
from server.tables import Job, JobKind, ModelVersion, Project, VersionStatus
from server.tables.base import utc_now
from server.work import service as work

DEFAULT_BACKBONE = "efficientnet_lite0"
MIN_CATEGORIES = 2


def list_versions(
    session: Session, project_id: uuid.UUID, *, offset: int = 0, limit: int = 50
) -> list[ModelVersion]:
    """Versions of a project, newest first."""
    return queries.list_of_project(session, project_id, offset=offset, limit=limit)


def get_version(session: Session, project_id: uuid.UUID, version_id: uuid.UUID) -> ModelVersion:
    """A version of the project.

    Raises:
        NotFound: the project has no such version.
    """
    version = queries.find_in_project(session, project_id, version_id)
    if version is None:
        raise NotFound("There is no such model version in this project.")
    return version


def find_active(session: Session, project_id: uuid.UUID) -> ModelVersion | None:
    """The version that answers predictions, or None before anything was scored."""
    return queries.find_active(session, project_id)


def request_training(
    session: Session, project: Project, user_id: uuid.UUID | None
) -> tuple[ModelVersion, Job]:
    """A new version of the project's present labels, and the job that trains it.

    Raises:
        Conflict: ``training-already``, or ``nothing-new`` where the labels are those of the last training.
        InvalidInput: ``too-few-categories``: there is nothing to tell apart yet.
    """
    queries.lock_project(session, project.id)
    if running := queries.find_running(session, project.id):
        raise Conflict(
            f"v{running.number} is being trained. Wait for it, or cancel it.",
            code="training-already",
            version_id=str(running.id),
        )
    labels = queries.count_labels(session, project.id)
    _require_enough(labels)
    active = queries.find_active(session, project.id)
    last = queries.find_last_trained(session, project.id)
    if last and queries.has_same_labels(session, project.id, last.id):
        raise Conflict(
            f"Nothing new: no label has changed since v{last.number} was trained on {last.trained_images} "
            "images. Label or import something first.",
            code="nothing-new",
            version_id=str(last.id),
        )
    version = ModelVersion(
        project_id=project.id,
        number=queries.next_number(session, project.id),
        status=VersionStatus.QUEUED,
        parent_id=active.id if active else None,
        created_by=user_id,
        backbone=DEFAULT_BACKBONE,
        trained_images=labels.images,
        trained_categories=labels.categories,
    )
    session.add(version)
    session.flush()
    queries.take_snapshot(session, version)
    job = work.request_job(session, JobKind.TRAIN, project.id, version.id)
    _record(session, "version.requested", version, user_id)
    enqueue(session, TRAIN, str(version.id))
    return version, job


def _require_enough(labels: LabelCounts) -> None:
    if labels.categories >= MIN_CATEGORIES:
        return
    found = f"only one has any: {labels.some_names[0]}" if labels.some_names else "none has any yet"
    raise InvalidInput(
        f"Training tells categories apart, so it needs labelled images of at least {MIN_CATEGORIES}; "
        f"{found}. Label or import images of another category.",
        code="too-few-categories",
        categories=labels.categories,
        needed=MIN_CATEGORIES,
    )


def ensure_untrained(session: Session, project_id: uuid.UUID, runtime_key: str) -> tuple[ModelVersion, bool]:
    """The active version; an untrained one if there is none, so that scores exist before any class.

    Returns the version and whether it was made now. The project stays locked until the transaction ends:
    who makes the version writes its checkpoint before that, so nobody finds the one without the other.
    """
    queries.lock_project(session, project_id)
    if active := queries.find_active(session, project_id):
        return active, False
    now = utc_now()
    version = ModelVersion(
        project_id=project_id,
        number=queries.next_number(session, project_id),
        status=VersionStatus.ACTIVE,
        backbone=DEFAULT_BACKBONE,
        runtime_key=runtime_key,
        activated_at=now,
    )
    session.add(version)
    session.flush()
    _project(session, version).active_version_id = version.id
    session.flush()
    return version, True


def mark_training(session: Session, version_id: uuid.UUID) -> ModelVersion | None:
    """The version, now in training; None if it was called off, has failed or is trained already."""
    version = queries.find_locked(session, version_id)
    if version is None or version.status not in queries.RUNNING:
        return None
    version.status = VersionStatus.TRAINING
    session.flush()
    return version


def mark_trained(
    session: Session, version_id: uuid.UUID, *, metrics: dict[str, Any], runtime_key: str, seed: int
) -> ModelVersion | None:
    """The version as a candidate whose checkpoint is complete; None if it was called off meanwhile."""
    version = queries.find_locked(session, version_id)
    if version is None or version.status is not VersionStatus.TRAINING:
        return None
    version.status = VersionStatus.CANDIDATE
    version.trained_at = utc_now()
    version.metrics = metrics
    version.runtime_key = runtime_key
    version.seed = seed
    session.flush()
    return version


def fail(session: Session, version_id: uuid.UUID, error: str) -> None:
    """The training has failed; ``error`` says why and what to do, in words for people."""
    job = work.find_unfinished(session, JobKind.TRAIN, version_id, lock=True)
    version = queries.find_locked(session, version_id)
    if version is None or version.status not in (*queries.RUNNING, VersionStatus.CANDIDATE):
        return
    version.status = VersionStatus.FAILED
    version.error = error
    if job:
        work.fail(session, job, error)
    session.flush()


def cancel(session: Session, version: ModelVersion, user_id: uuid.UUID) -> ModelVersion:
    """Call a training off. The worker notices at its next heartbeat.

    Raises:
        Conflict: ``not-running``.
    """
    job = work.find_unfinished(session, JobKind.TRAIN, version.id, lock=True)
    locked = _locked(session, version)
    if locked.status not in queries.RUNNING:
        raise Conflict(
            f"v{locked.number} is not being trained, so there is nothing to cancel.", code="not-running"
        )
    locked.status = VersionStatus.CANCELLED
    if job:
        work.cancel(session, job)
    _record(session, "version.cancelled", locked, user_id)
    session.flush()
    return locked


def activate(session: Session, version: ModelVersion, user_id: uuid.UUID | None) -> ModelVersion:
    """Let a version answer from now on, in place of the one that did; also the way back.

    Labels that came since it was trained are taken into its memory, and images that came since are
    scored, in the background. Activating the active version changes nothing.

    Raises:
        Conflict: ``not-trained``: it has no complete checkpoint.
    """
    queries.lock_project(session, version.project_id)
    chosen = _locked(session, version)
    former = queries.find_active(session, chosen.project_id)
    if former and former.id == chosen.id:
        return chosen
    if chosen.status not in (VersionStatus.CANDIDATE, VersionStatus.RETIRED):
        raise Conflict(
            f"v{chosen.number} has not been trained to its end, so it cannot answer. "
            "Choose another version or train a new one.",
            code="not-trained",
        )
    if former:
        former.status = VersionStatus.RETIRED
        # The unique index allows one active version at any moment.
        session.flush()
    chosen.status = VersionStatus.ACTIVE
    chosen.activated_at = utc_now()
    _project(session, chosen).active_version_id = chosen.id
    session.flush()
    _record(session, "version.activated", chosen, user_id, former=former.number if former else None)
    for category_id in queries.list_outdated_categories(session, chosen):
        enqueue(session, UPDATE_MEMORY, str(chosen.project_id), str(category_id))
    request_rescore(session, chosen.project_id)
    return chosen


def request_rescore(session: Session, project_id: uuid.UUID) -> None:
    """Have the scores and the queue of the project brought up to date, for a reason other than its memory.

    The active version says so until it is done; so the message may be lost.
    """
    queries.outdate_scores(session, project_id)
    enqueue(session, RESCORE, str(project_id))


def _locked(session: Session, version: ModelVersion) -> ModelVersion:
    locked = queries.find_locked(session, version.id)
    if locked is None:
        raise NotFound("There is no such model version in this project.")
    return locked


def _project(session: Session, version: ModelVersion) -> Project:
    return session.get_one(Project, version.project_id)


def _record(
    session: Session, action: str, version: ModelVersion, user_id: uuid.UUID | None, **details: Any
) -> None:
    audit.record(
        session,
        action,
        user_id=user_id,
        project_id=version.project_id,
        subject_id=version.id,
        number=version.number,
        **details,
    )

"""Job rows: what background work there is, how far it is, and what went wrong.

Messages may be lost, doubled or late; the row says what is true. A task's life, each step in a
transaction of its own::

    start        None: nothing to do (finished, cancelled, given up)
    heartbeat    after each slice, with the work done so far; False: cancelled, stop
    hold         before the last look for work that is left: whoever adds work waits, or came before
    finish       in the transaction of ``hold``; or ``fail``
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from server.tables import Job, JobKind, JobState
from server.tables.base import utc_now
from server.work import queries

MAX_ATTEMPTS = 5
SILENCE = timedelta(seconds=30)


def request_job(session: Session, kind: JobKind, project_id: uuid.UUID, target_id: uuid.UUID) -> Job:
    """The unfinished job of this kind and target, made if there is none. Asking twice is asking once.

    The row stays locked until the caller's transaction ends. So a worker that is about to finish the job
    (see ``hold``) sees the work that this transaction adds, or it has finished and a new job is made here.
    """
    while True:
        queries.insert_unless_unfinished(session, kind, project_id, target_id)
        if job := queries.find_unfinished(session, kind, target_id, lock=True):
            return job


def find_unfinished(
    session: Session, kind: JobKind, target_id: uuid.UUID, *, lock: bool = False
) -> Job | None:
    """The job that waits or runs, or None."""
    return queries.find_unfinished(session, kind, target_id, lock=lock)


def start(session: Session, kind: JobKind, target_id: uuid.UUID) -> Job | None:
    """Mark the job as running and count the attempt; None where nothing is to be done.

    A running job starts again: its worker may have died, or one slice of it follows another. Commit
    before the work begins, so that an attempt that kills its worker is counted. After ``MAX_ATTEMPTS``
    attempts without progress the job fails instead.
    """
    job = queries.find_unfinished(session, kind, target_id, lock=True)
    if job is None:
        return None
    if job.attempts >= MAX_ATTEMPTS:
        fail(
            session,
            job,
            f"Tried {MAX_ATTEMPTS} times, and each time the worker stopped before any progress. "
            "The worker's log says why; mend that, then let the batch go on from its page, or train again.",
        )
        return None
    now = utc_now()
    job.state = JobState.RUNNING
    job.attempts += 1
    job.started_at = job.started_at or now
    job.heartbeat_at = now
    session.flush()
    return job


def heartbeat(
    session: Session,
    job_id: uuid.UUID,
    done: int | None = None,
    total: int | None = None,
    *,
    has_progressed: bool = False,
) -> bool:
    """A sign of life, with the progress if given. False if the job was cancelled: stop.

    Progress forgives earlier attempts: only a job that dies again and again at one place is given up.
    ``has_progressed`` tells of work that is kept but finishes nothing that ``done`` counts.
    """
    job = _locked(session, job_id)
    if job is None or job.state is not JobState.RUNNING:
        return False
    if has_progressed or (done is not None and done != job.done):
        job.attempts = 0
    if done is not None:
        job.done = done
    if total is not None:
        job.total = total
    job.heartbeat_at = utc_now()
    session.flush()
    return True


def hold(session: Session, job_id: uuid.UUID) -> Job | None:
    """Lock the job for the last look and ``finish``; None if it is finished or cancelled already."""
    job = _locked(session, job_id)
    return job if job is not None and job.state in queries.UNFINISHED else None


def finish(session: Session, job: Job) -> None:
    """All of it is done."""
    job.done = job.total = max(job.done, job.total)
    _end(session, job, JobState.DONE)


def fail(session: Session, job: Job, error: str) -> None:
    """It cannot be done; ``error`` says why and what to do, in words for people."""
    job.error = error
    _end(session, job, JobState.FAILED)


def cancel(session: Session, job: Job) -> None:
    """Somebody called it off; the worker sees it at its next heartbeat."""
    _end(session, job, JobState.CANCELLED)


def list_stale(session: Session, now: datetime | None = None) -> list[Job]:
    """Jobs that have been silent for ``SILENCE``, locked: their message was lost or their worker died.

    Each is given a fresh sign of life, so that the next look does not send it again at once.
    """
    moment = now or utc_now()
    stale = queries.list_stale(session, moment - SILENCE)
    for job in stale:
        job.heartbeat_at = moment
    session.flush()
    return stale


def list_jobs(
    session: Session, project_id: uuid.UUID, *, unfinished_only: bool = False, limit: int = 100
) -> list[Job]:
    """Jobs of a project, newest first."""
    return queries.list_of_project(session, project_id, unfinished_only=unfinished_only, limit=limit)


def _locked(session: Session, job_id: uuid.UUID) -> Job | None:
    return session.get(Job, job_id, with_for_update=True, populate_existing=True)


def _end(session: Session, job: Job, state: JobState) -> None:
    job.state = state
    job.finished_at = utc_now()
    session.flush()

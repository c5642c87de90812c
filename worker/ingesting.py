"""Unpacking of the archives of a batch: in slices, each a transaction of its own, resumed after any death.

The archives lie in the spool; each is removed only when all of it is recorded. What is recorded already is
recognised by name and content, so files that are read twice after a crash change nothing.
"""

import time
import uuid
from functools import partial
from pathlib import Path

import structlog

from server.batches import archives, intake, service
from server.batches.archives import ArchiveError
from server.batches.intake import Refused
from server.batches.recording import record
from server.batches.spool import Spool
from server.database import session_scope
from server.errors import StorageFull
from server.jobs import INGEST_BATCH, enqueue
from server.settings import Settings
from server.storage import ImageStore
from server.tables import Batch, Job, JobKind
from server.work import service as work
from worker.locks import JobStopped, only_one

logger = structlog.get_logger()

# A run gives way after this long and asks to be continued, so that nothing waits long behind it.
RUN_SECONDS = 5.0


def ingest_batch(settings: Settings, batch_id: uuid.UUID, run_seconds: float = RUN_SECONDS) -> None:
    """Unpack waiting archives of the batch, for about ``run_seconds``; then ask to be continued.

    A second call at the same time does nothing.
    """
    with only_one(settings.database_url, "ingest", batch_id) as is_ours:
        if not is_ours:
            return
        with session_scope(settings.database_url) as session:
            job = work.start(session, JobKind.INGEST, batch_id)
        if job is not None:
            _run(_Ingest(settings, batch_id, job, time.monotonic() + run_seconds))


class _Ingest:
    """One run of the job: what it works on, and how far it is."""

    def __init__(self, settings: Settings, batch_id: uuid.UUID, job: Job, deadline: float) -> None:
        self.settings = settings
        self.url = settings.database_url
        self.store = ImageStore(settings.images_folder)
        self.spool = Spool(settings.home)
        self.batch_id = batch_id
        self.job_id = job.id
        self.done = job.done
        self.deadline = deadline

    @property
    def is_late(self) -> bool:
        """Whether it is time to give way."""
        return time.monotonic() > self.deadline


def _run(ingest: _Ingest) -> None:
    try:
        for path in _waiting(ingest):
            _unpack(ingest, path)
            if ingest.is_late:
                break
        _finish_or_continue(ingest)
    except JobStopped:
        logger.info("ingest_cancelled", batch_id=str(ingest.batch_id))
    except StorageFull as error:
        with session_scope(ingest.url) as session:
            if job := work.hold(session, ingest.job_id):
                work.fail(session, job, error.message)


def _waiting(ingest: _Ingest) -> list[Path]:
    """The archives whose upload has been committed; an upload adds to them under the job's lock."""
    with session_scope(ingest.url) as session:
        if work.hold(session, ingest.job_id) is None:
            raise JobStopped
        return ingest.spool.waiting(ingest.batch_id)


def _finish_or_continue(ingest: _Ingest) -> None:
    """Ask for scores; end the job if no archive waits.

    Under the job's lock, so that an upload adds its archive either before this look or to a new job.
    """
    with session_scope(ingest.url) as session:
        service.request_scores(session, session.get_one(Batch, ingest.batch_id))
        job = work.hold(session, ingest.job_id)
        if job is None:
            return
        if ingest.spool.waiting(ingest.batch_id):
            enqueue(session, INGEST_BATCH, str(ingest.batch_id))
        else:
            work.finish(session, job)


def _unpack(ingest: _Ingest, path: Path) -> None:
    """Record the rest of one archive, or as much of it as there is time for."""
    limits = service.archive_limits(ingest.settings)
    position = ingest.spool.position(path)
    written: set[str] = set()
    try:
        with path.open("rb") as file, archives.opened(file, limits) as archive:
            files = [
                intake.File(
                    member.name, member.byte_size, partial(archives.read_member, archive, member, limits)
                )
                for member in archives.list_members(archive, limits)
            ]
            for some in intake.slices(files[position:]):
                _record_slice(ingest, some, written)
                position += len(some)
                ingest.spool.move_to(path, position)
                if ingest.is_late and position < len(files):
                    return
    except ArchiveError as error:
        _report_harmed(ingest, path, error)
    ingest.spool.remove(path)


def _record_slice(ingest: _Ingest, files: intake.Files, written: set[str]) -> None:
    with session_scope(ingest.url) as session:
        batch = session.get_one(Batch, ingest.batch_id)
        taken = service.take_pictures(session, ingest.settings, ingest.store, batch, files)
        record(session, batch, taken, written)
        ingest.done += len(files)
        if not work.heartbeat(session, ingest.job_id, ingest.done):
            raise JobStopped


def _report_harmed(ingest: _Ingest, path: Path, error: ArchiveError) -> None:
    """Its directory was sound when the archive came, so it has been harmed since."""
    with session_scope(ingest.url) as session:
        batch = session.get_one(Batch, ingest.batch_id)
        harmed = Refused(f"archive {path.stem[:20]}", path.stat().st_size, error.code, error.message)
        record(session, batch, [harmed])

"""Batches: what is sent is validated, stored, recorded and enqueued, in that order."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from server.batches import archives, intake, queries
from server.batches.intake import Refused, Taken
from server.batches.names import clean_name, is_clutter
from server.batches.queries import Key, Order, ScoredImage
from server.batches.recording import record
from server.batches.spool import Spool
from server.errors import InvalidInput, NotFound
from server.jobs import INGEST_BATCH, SCORE_BATCH, enqueue
from server.predictions.flags import Flag, flag_of
from server.settings import MIB, Settings
from server.storage import ImageStore
from server.tables import (
    Batch,
    BatchItem,
    BatchKind,
    BatchStatus,
    Image,
    ItemOutcome,
    Job,
    JobKind,
    Project,
)
from server.tables.base import utc_now
from server.work import service as work

UPLOAD_ENDS_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Upload:
    """A file as a request brings it: any name, a seekable stream, its size."""

    name: str
    file: BinaryIO
    byte_size: int


@dataclass(frozen=True)
class Unpacking:
    """An archive that the worker will unpack; ``members`` files in it may be pictures."""

    name: str
    byte_size: int
    members: int


@dataclass(frozen=True)
class Receipt:
    """What became of the files of one request, in the order in which they came; archives are last."""

    files: list[BatchItem | Unpacking]
    ignored: list[str]


def create_batch(
    session: Session, project_id: uuid.UUID, name: str, kind: BatchKind, user_id: uuid.UUID | None
) -> Batch:
    """A new batch without files. Without a name it is called after the moment."""
    shown = (
        clean_name(name).replace("/", " ") if name.strip() else f"Upload of {utc_now():%d %b %Y, %H:%M} UTC"
    )
    batch = Batch(
        id=uuid.uuid4(),
        project_id=project_id,
        name=shown,
        kind=kind,
        created_by=user_id,
    )
    session.add(batch)
    session.flush()
    return batch


def get_batch(session: Session, project_id: uuid.UUID, batch_id: uuid.UUID) -> Batch:
    """The batch of this project. Raises :class:`NotFound`."""
    batch = queries.find_batch(session, project_id, batch_id)
    if batch is None:
        raise NotFound("This project has no such batch.")
    return batch


def names_of(
    session: Session, project_id: uuid.UUID, batch_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Names of those of the batches that are this project's."""
    return queries.batch_names(session, project_id, batch_ids)


def get_image(session: Session, project_id: uuid.UUID, image_id: uuid.UUID) -> Image:
    """The image of this project. Raises :class:`NotFound`."""
    image = queries.find_image(session, project_id, image_id)
    if image is None:
        raise NotFound("This project has no such image.")
    return image


# --- receiving files -----------------------------------------------------------------------------------


def receive(
    session: Session, settings: Settings, store: ImageStore, batch: Batch, uploads: Sequence[Upload]
) -> Receipt:
    """Take the files of one request: pictures now, archives by the worker.

    One bad file never fails the rest. Raises :class:`InvalidInput` if there is no file at all, and
    ``StorageFull``; then nothing of the request is recorded.
    """
    if not uploads:
        raise InvalidInput("No file was sent. Send at least one, in parts named `files`.", code="no-files")
    sorted_uploads = validate(settings, uploads)
    pictures = [file for file in sorted_uploads.files if isinstance(file, intake.File)]
    taken = iter(take_pictures(session, settings, store, batch, pictures))
    in_order = [next(taken) if isinstance(file, intake.File) else file for file in sorted_uploads.files]
    items = record(session, batch, in_order)
    if any(item.outcome is not ItemOutcome.REFUSED for item in items):
        request_scores(session, batch)
    if sorted_uploads.archives:
        request_unpacking(session, Spool(settings.home), batch, sorted_uploads.archives)
    return Receipt([*items, *(archive for archive, _ in sorted_uploads.archives)], sorted_uploads.ignored)


@dataclass
class _Sorted:
    files: list[intake.File | Refused] = field(default_factory=list)
    archives: list[tuple[Unpacking, Upload]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def validate(settings: Settings, uploads: Iterable[Upload]) -> _Sorted:
    """Sort files by content: pictures to be, archives with a sound directory, refused ones, clutter."""
    result = _Sorted()
    for upload in uploads:
        name = clean_name(upload.name)
        if is_clutter(name):
            result.ignored.append(name)
            continue
        found = _look_into(settings, name, upload)
        if isinstance(found, Unpacking):
            result.archives.append((found, upload))
        else:
            result.files.append(found)
    return result


def _look_into(settings: Settings, name: str, upload: Upload) -> intake.File | Unpacking | Refused:
    upload.file.seek(0)
    head = upload.file.read(archives.HEAD_BYTES)
    if archives.is_zip(head):
        try:
            limits = archive_limits(settings)
            with archives.opened(upload.file, limits) as archive:
                members = archives.list_members(archive, limits)
        except archives.ArchiveError as error:
            return Refused(name, upload.byte_size, error.code, error.message)
        return Unpacking(name, upload.byte_size, len(members))
    if archives.is_archive(head):
        message = "Only zip archives are read. Pack it as zip."
        return Refused(name, upload.byte_size, "unsupported-archive", message)
    return intake.File(name, upload.byte_size, partial(_read, upload.file))


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def archive_limits(settings: Settings) -> archives.Limits:
    """What an archive may hold, by the settings."""
    return archives.Limits(settings.max_archive_members, settings.max_image_mib * MIB)


def picture_limits(settings: Settings) -> intake.PictureLimits:
    """What a picture may be, by the settings."""
    return intake.PictureLimits(settings.max_image_mib * MIB, settings.max_image_megapixels * 1_000_000)


def take_pictures(
    session: Session, settings: Settings, store: ImageStore, batch: Batch, files: Sequence[intake.File]
) -> list[Taken]:
    """Decode and store what the project does not have yet; no row is written."""
    limits = picture_limits(settings)
    find_known = partial(queries.known_hashes, session, batch.project_id)
    return [
        taken for some in intake.slices(files) for taken in intake.take_slice(some, store, limits, find_known)
    ]


# --- background work -----------------------------------------------------------------------------------


def request_unpacking(
    session: Session, spool: Spool, batch: Batch, waiting: Sequence[tuple[Unpacking, Upload]]
) -> None:
    """Put archives into the batch's line and let the worker unpack them.

    The job is locked first: the worker looks at the line under the same lock, so it sees these archives
    only once their upload has been committed.
    """
    job = work.request_job(session, JobKind.INGEST, batch.project_id, batch.id)
    added: list[Path] = []
    try:
        for archive, upload in waiting:
            added.append(spool.add(batch.id, upload.file))
            job.total += archive.members
        session.flush()
    except BaseException:
        for path in added:
            spool.remove(path)
        raise
    enqueue(session, INGEST_BATCH, str(batch.id))


def request_scores(session: Session, batch: Batch) -> None:
    """Let the worker score what the batch has brought. Once per request or run, not once per file."""
    # The job's row before the batch's, as the scoring worker locks them.
    work.request_job(session, JobKind.SCORE, batch.project_id, batch.id)
    batch.status = BatchStatus.RECEIVED
    enqueue(session, SCORE_BATCH, str(batch.id))
    session.flush()


def cancel_work(session: Session, batch: Batch) -> None:
    """Call off the unpacking and scoring of a batch. What is recorded stays; ``resume`` goes on with the
    rest."""
    # In the order in which an upload and the unpacking worker lock them.
    for kind in (JobKind.SCORE, JobKind.INGEST):
        if job := work.find_unfinished(session, kind, batch.id, lock=True):
            work.cancel(session, job)


def resume(session: Session, settings: Settings, batch: Batch) -> None:
    """Go on with what has failed or was called off: archives that wait, and images without scores."""
    request_scores(session, batch)
    if Spool(settings.home).waiting(batch.id):
        work.request_job(session, JobKind.INGEST, batch.project_id, batch.id)
        enqueue(session, INGEST_BATCH, str(batch.id))


def has_work_left(session: Session, settings: Settings, project: Project, batch: Batch) -> bool:
    """Whether ``resume`` would find anything to do."""
    if Spool(settings.home).waiting(batch.id):
        return True
    version_id = project.active_version_id
    return version_id is not None and queries.has_unscored(session, version_id, batch.id)


def sweep_spool(session: Session, settings: Settings) -> int:
    """Remove archives of uploads that never came to their end: a day later their batch is still not there.

    Returns how many batches that were to be.
    """
    spool = Spool(settings.home)
    old = spool.list_untouched(utc_now() - UPLOAD_ENDS_WITHIN)
    lost = set(old) - queries.known_batches(session, old) if old else set()
    for batch_id in lost:
        spool.drop(batch_id)
    return len(lost)


# --- reading -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchSummary:
    """A batch with the counts of its report and the work that is going on for it."""

    batch: Batch
    created_by: str | None
    counts: dict[ItemOutcome, int]
    jobs: list[Job]


def summaries(session: Session, batches: Sequence[Batch]) -> list[BatchSummary]:
    """Counts, people and jobs of some batches, by one query each."""
    ids = [batch.id for batch in batches]
    if not ids:
        return []
    counts = queries.outcome_counts(session, ids)
    people = queries.user_names(session, {batch.created_by for batch in batches if batch.created_by})
    jobs = queries.latest_jobs(session, ids)
    return [
        BatchSummary(
            batch,
            people.get(batch.created_by) if batch.created_by else None,
            counts[batch.id],
            [job for job in jobs if job.target_id == batch.id],
        )
        for batch in batches
    ]


def summary(session: Session, batch: Batch) -> BatchSummary:
    """Counts, person and jobs of one batch."""
    return summaries(session, [batch])[0]


def list_batches(
    session: Session, project_id: uuid.UUID, *, offset: int = 0, limit: int = 50
) -> list[BatchSummary]:
    """Batches of the project, newest first."""
    return summaries(session, queries.list_batches(session, project_id, offset=offset, limit=limit))


def list_items(
    session: Session, batch: Batch, outcome: ItemOutcome | None = None, *, offset: int = 0, limit: int = 100
) -> tuple[Sequence[BatchItem], int]:
    """A page of the report by file name, and how many lines there are in all."""
    counts = queries.outcome_counts(session, [batch.id])[batch.id]
    total = sum(counts.values()) if outcome is None else counts.get(outcome, 0)
    return queries.list_items(session, batch.id, outcome, offset=offset, limit=limit), total


@dataclass(frozen=True)
class Result:
    """An image with what the active version says of it; categories with their names."""

    scored: ScoredImage
    flag: Flag
    category: str | None
    label: str | None
    top: list[tuple[uuid.UUID, str, float]]
    nearest: list[tuple[uuid.UUID, str, float]]


@dataclass(frozen=True)
class Results:
    """A page of results. ``next`` continues it; ``images`` counts all of the batch, ``counts`` the scored."""

    results: list[Result]
    counts: dict[Flag, int]
    images: int
    next: str | None


def list_results(
    session: Session,
    project: Project,
    batch: Batch,
    flag: Flag | None = None,
    order: Order = Order.ENERGY,
    *,
    category_id: uuid.UUID | None = None,
    after: str | None = None,
    limit: int = 60,
) -> Results:
    """What the active version says of the images that this batch brought, the most telling first.

    With ``category_id`` those whose most probable category it is, and ``counts`` are of these.
    ``after`` is the ``next`` of the page before. Raises :class:`InvalidInput` for any other text.
    """
    images = queries.count_images(session, batch.id)
    version_id = project.active_version_id
    if version_id is None:
        return Results([], dict.fromkeys(queries.FLAGS, 0), images, None)
    last = _parse_cursor(after, order) if after else None
    rows = queries.list_results(
        session, version_id, batch.id, flag, order, category_id=category_id, after=last, limit=limit + 1
    )
    shown = rows[:limit]
    more = _cursor(shown[-1], order) if len(rows) > limit else None
    counts = queries.count_flags(session, version_id, [batch.id], category_id)[batch.id]
    return Results(_with_names(session, shown), counts, images, more)


def count_flags(
    session: Session, project: Project, batch_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, dict[Flag, int]]:
    """How batches divide into known, uncertain and new under the active version."""
    if project.active_version_id is None:
        return {batch_id: dict.fromkeys(queries.FLAGS, 0) for batch_id in batch_ids}
    return queries.count_flags(session, project.active_version_id, batch_ids)


def get_result(session: Session, project: Project, image: Image) -> Result | None:
    """What the active version says of one image; None before it has been scored."""
    if project.active_version_id is None:
        return None
    prediction = queries.find_prediction(session, project.active_version_id, image.id)
    return _with_names(session, [ScoredImage(prediction, image)])[0] if prediction else None


def label_of(session: Session, image: Image) -> str | None:
    """Name of the category that people gave the image."""
    if image.category_id is None:
        return None
    return queries.category_names(session, [image.category_id]).get(image.category_id)


def _with_names(session: Session, rows: Sequence[ScoredImage]) -> list[Result]:
    ids = {uuid.UUID(key) for row in rows for key, _ in (*row.prediction.top, *row.prediction.nearest)}
    ids |= {row.prediction.category_id for row in rows if row.prediction.category_id}
    ids |= {row.image.category_id for row in rows if row.image.category_id}
    names = queries.category_names(session, ids) if ids else {}

    def name_of(category_id: uuid.UUID | None) -> str | None:
        return names.get(category_id) if category_id else None

    def named(ranking: list[list[object]]) -> list[tuple[uuid.UUID, str, float]]:
        ranked = ((uuid.UUID(str(key)), float(str(value))) for key, value in ranking)
        return [(key, names[key], value) for key, value in ranked if key in names]

    return [
        Result(
            row,
            flag_of(row.prediction.unknown_score),
            name_of(row.prediction.category_id),
            name_of(row.image.category_id),
            named(row.prediction.top),
            named(row.prediction.nearest),
        )
        for row in rows
    ]


def _cursor(row: ScoredImage, order: Order) -> str:
    if order is Order.NEWEST:
        return f"{row.image.created_at.isoformat()}~{row.image.id}"
    return f"{row.prediction.free_energy!r}~{row.image.id}"


def _parse_cursor(text: str, order: Order) -> tuple[Key, uuid.UUID]:
    key, _, image_id = text.partition("~")
    try:
        value = datetime.fromisoformat(key) if order is Order.NEWEST else float(key)
        return value, uuid.UUID(image_id)
    except ValueError as error:
        raise InvalidInput("`after` must be the `next` of the page before.", code="bad-cursor") from error

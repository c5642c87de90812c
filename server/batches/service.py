"""Batches: what is sent is validated, stored, recorded and enqueued, in that order."""

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.orm import Session

from server.annotations.labels import record_labels
from server.batches import archives, intake, queries
from server.batches.intake import Known, Refused, Stored, Taken
from server.batches.names import class_folder, clean_name, is_clutter, numbered
from server.batches.queries import ImageRef, Key, Order, ScoredImage
from server.batches.spool import Spool
from server.categories import service as categories
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
from server.tables.annotations import LabelSource
from server.tables.base import utc_now
from server.work import service as work


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
    batch = Batch(
        id=uuid.uuid4(),
        project_id=project_id,
        name=clean_name(name).replace("/", " ")
        if name.strip()
        else f"Upload of {utc_now():%d %b %Y, %H:%M} UTC",
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
        upload.file.seek(0)
        head = upload.file.read(archives.HEAD_BYTES)
        if is_clutter(name):
            result.ignored.append(name)
        elif archives.is_zip(head):
            try:
                with archives.opened(upload.file) as archive:
                    members = archives.list_members(archive, archive_limits(settings))
                result.archives.append((Unpacking(name, upload.byte_size, len(members)), upload))
            except archives.ArchiveError as error:
                result.files.append(Refused(name, upload.byte_size, error.code, error.message))
        elif archives.is_archive(head):
            result.files.append(
                Refused(
                    name,
                    upload.byte_size,
                    "unsupported-archive",
                    "Only zip archives are read. Pack it as zip.",
                )
            )
        else:
            result.files.append(intake.File(name, upload.byte_size, partial(_read, upload.file)))
    return result


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


def record(
    session: Session, batch: Batch, taken: Sequence[Taken], written: set[str] | None = None
) -> list[BatchItem]:
    """Write images, labels and the report. Repeating it with the same files changes nothing.

    ``written`` holds the names that this upload has reported already: a file of the same name and other
    bytes gets a number, while one that mends a refused file of an earlier upload takes its line.
    """
    queries.lock_report(session, batch.id)
    by_folder = _categories_of(session, batch, taken)
    added = queries.add_images(session, batch, [file for file in taken if isinstance(file, Stored)])
    hashes = {file.sha256 for file in taken if not isinstance(file, Refused)}
    images = queries.images_by_hash(session, batch.project_id, hashes) if hashes else {}
    report = _Report(session, batch, {file.name for file in taken}, set() if written is None else written)
    labels: list[tuple[BatchItem, uuid.UUID]] = []
    items = []
    for file in taken:
        if isinstance(file, Refused):
            items.append(report.refuse(file))
            continue
        is_new = file.sha256 in added
        added.discard(file.sha256)
        item, is_new_line = report.link(file, images[file.sha256], is_new)
        items.append(item)
        if is_new_line and batch.kind is BatchKind.LABELLED:
            _plan_label(item, by_folder, labels)
    session.flush()
    _record_labels(session, batch, labels)
    return items


class _Report:
    """Lines of a batch's report, by name. A line stands for one content."""

    def __init__(self, session: Session, batch: Batch, names: Collection[str], written: set[str]) -> None:
        self._session = session
        self._batch = batch
        self._lines = queries.items_by_name(session, batch.id, names)
        self._written = written

    def refuse(self, file: Refused) -> BatchItem:
        """The line of a file that gave no picture."""

        def is_same(line: BatchItem) -> bool:
            return (line.code, line.byte_size) == (file.code, file.byte_size)

        line, is_new = self._line(file.name, is_same)
        if is_new:
            line.outcome, line.byte_size = ItemOutcome.REFUSED, file.byte_size
            line.code, line.message = file.code, file.message
        return line

    def link(self, file: Known | Stored, image: ImageRef, is_added: bool) -> tuple[BatchItem, bool]:
        """The line of a file whose picture is there, and whether it says something new."""
        line, is_new = self._line(file.name, lambda line: line.image_id == image.id)
        if not is_new:
            return line, False
        line.image_id, line.byte_size = image.id, file.byte_size
        line.notes = list(file.notes) if isinstance(file, Stored) else []
        if is_added:
            line.outcome, line.code, line.message = ItemOutcome.STORED, None, None
        else:
            line.outcome, line.code = ItemOutcome.DUPLICATE, "duplicate"
            where = "" if image.batch_id == self._batch.id else f" in {image.batch_name}"
            line.message = f"Same bytes as {image.name}{where}. Linked, not stored twice."
        return line, True

    def _line(self, name: str, is_same: Callable[[BatchItem], bool]) -> tuple[BatchItem, bool]:
        """The line for this name and content, and whether it has to be written."""
        number = 1
        while line := self._find(candidate := numbered(name, number)):
            if is_same(line):
                return line, False
            if line.outcome is ItemOutcome.REFUSED and candidate not in self._written:
                break
            number += 1
        else:
            line = BatchItem(batch_id=self._batch.id, name=candidate, notes=[])
            self._session.add(line)
            self._lines[candidate] = line
        self._written.add(candidate)
        return line, True

    def _find(self, name: str) -> BatchItem | None:
        if name not in self._lines:
            with self._session.no_autoflush:
                self._lines.update(queries.items_by_name(self._session, self._batch.id, [name]))
        return self._lines.get(name)


# --- labels of a labelled upload -----------------------------------------------------------------------


def _categories_of(
    session: Session, batch: Batch, taken: Sequence[Taken]
) -> dict[str, uuid.UUID | InvalidInput]:
    """Category of each class folder, or why its name cannot be one."""
    if batch.kind is not BatchKind.LABELLED:
        return {}
    folders = {class_folder(file.name) for file in taken if not isinstance(file, Refused)} - {None}
    found: dict[str, uuid.UUID | InvalidInput] = {}
    # In one order in every upload, so that two of them never wait for each other in a circle.
    for folder in sorted(str(folder) for folder in folders):
        try:
            category = categories.find_or_create(session, batch.project_id, folder, batch.created_by)
            found[folder] = category.id
        except InvalidInput as error:
            found[folder] = error
    return found


def _plan_label(
    item: BatchItem,
    by_folder: dict[str, uuid.UUID | InvalidInput],
    labels: list[tuple[BatchItem, uuid.UUID]],
) -> None:
    folder = class_folder(item.name)
    category = by_folder.get(folder) if folder else None
    if isinstance(category, uuid.UUID):
        labels.append((item, category))
    elif category is None:
        item.code = "no-class-folder"
        item.message = (
            "Stored without a label: no folder above it names a class. "
            "Put it into a folder named for its class and send it again, or label it here."
        )
    else:
        item.code, item.message = category.code, f"Stored without a label: {category.message}"


def _record_labels(session: Session, batch: Batch, labels: Sequence[tuple[BatchItem, uuid.UUID]]) -> None:
    pairs = [(item.image_id, category_id) for item, category_id in labels if item.image_id is not None]
    if not pairs:
        return
    conflicts = record_labels(session, batch.project_id, pairs, batch.created_by, LabelSource.IMPORTED)
    for item, _ in labels:
        if item.image_id in conflicts:
            item.code = "conflicting-labels"
            item.message = (
                "The same picture has been given another label too. Both are kept, and neither is used "
                "until somebody decides."
            )
    session.flush()


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
        return Results([], dict.fromkeys((Flag.KNOWN, Flag.UNCERTAIN, Flag.NEW), 0), images, None)
    last = _parse_cursor(after, order) if after else None
    rows = queries.list_results(
        session, version_id, batch.id, flag, order, category_id=category_id, after=last, limit=limit + 1
    )
    shown = rows[:limit]
    more = _cursor(shown[-1], order) if len(rows) > limit else None
    counts = queries.count_flags(session, version_id, batch.id, category_id)
    return Results(_with_names(session, shown), counts, images, more)


def count_flags(session: Session, project: Project, batch: Batch) -> dict[Flag, int]:
    """How the batch divides into known, uncertain and new under the active version."""
    if project.active_version_id is None:
        return dict.fromkeys((Flag.KNOWN, Flag.UNCERTAIN, Flag.NEW), 0)
    return queries.count_flags(session, project.active_version_id, batch.id)


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
            flag_of(row.prediction.unknown_score, row.prediction.is_known),
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

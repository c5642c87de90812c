"""Rows of an upload: images, labels and the report, in one transaction that may be repeated."""

import uuid
from collections.abc import Callable, Collection, Sequence

from sqlalchemy.orm import Session

from server.annotations.labels import record_labels
from server.batches import queries
from server.batches.intake import Known, Refused, Stored, Taken
from server.batches.names import class_folder, numbered
from server.batches.queries import ImageRef
from server.categories import service as categories
from server.errors import InvalidInput
from server.tables import Batch, BatchItem, BatchKind, ItemOutcome
from server.tables.annotations import LabelSource


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
    report = Report(session, batch, {file.name for file in taken}, set() if written is None else written)
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


class Report:
    """Lines of a batch's report, by name. A line stands for one content."""

    def __init__(self, session: Session, batch: Batch, names: Collection[str], written: set[str]) -> None:
        self._session = session
        self._batch = batch
        # None: looked for, not there.
        self._lines: dict[str, BatchItem | None] = dict.fromkeys(names)
        self._lines.update(queries.items_by_name(session, batch.id, names))
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
                found = queries.items_by_name(self._session, self._batch.id, [name])
            self._lines[name] = found.get(name)
        return self._lines[name]


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

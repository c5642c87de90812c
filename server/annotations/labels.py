"""Keeps the label of images in step with the journal of judgements, and tells the class memory of it."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from server.annotations import queries
from server.annotations.consensus import DISPUTED, Label, Opinion, are_disputed, label_of
from server.exploration import queries as exploration
from server.jobs import UPDATE_MEMORY, enqueue
from server.tables import Annotation, AnnotationTask, Image, LabelSource, TaskState, Verdict
from server.tables.base import utc_now


def opinions_of(annotations: Iterable[Annotation]) -> list[Opinion]:
    """Judgements that stand as opinions, in the same order."""
    return [
        Opinion(annotation.source, annotation.verdict, annotation.category_id)
        for annotation in annotations
        if annotation.verdict is not None
    ]


def apply_label(image: Image, label: Label) -> set[uuid.UUID]:
    """Give an image its label; the categories whose memory this touches."""
    if (image.verdict, image.category_id) == (label.verdict, label.category_id):
        return set()
    touched = {image.category_id, label.category_id} - {None}
    image.verdict = label.verdict
    image.category_id = label.category_id
    image.labelled_at = utc_now() if label.verdict else None
    return {category_id for category_id in touched if category_id is not None}


def update_memory(session: Session, project_id: uuid.UUID, category_ids: Iterable[uuid.UUID]) -> None:
    """Have the memory of these categories brought up to date after the commit."""
    for category_id in category_ids:
        enqueue(session, UPDATE_MEMORY, str(project_id), str(category_id))


def record_labels(
    session: Session,
    project_id: uuid.UUID,
    pairs: Sequence[tuple[uuid.UUID, uuid.UUID]],
    annotator_id: uuid.UUID | None,
    source: LabelSource,
) -> set[uuid.UUID]:
    """Take labels from elsewhere into the journal: ``pairs`` of image id and category id.

    An opinion that an image has already is not added again. An image that waits in the queue is done,
    unless sources disagree on it: then it waits there until a person settles it.

    Returns:
        Ids of those images on which opinions differ. Such an image has the verdict CONFLICT and no
        category, or the label that a person gave it.
    """
    image_ids = sorted({image_id for image_id, _ in pairs})
    tasks, images = queries.lock_images(session, project_id, image_ids)
    _add_missing(session, project_id, pairs, annotator_id, source, images)
    opinions = _opinions_by_image(session, image_ids)
    touched: dict[uuid.UUID, set[uuid.UUID]] = {}
    for image_id, image in images.items():
        label = label_of(opinions[image_id])
        touched[image_id] = apply_label(image, label)
        if label.category_id is not None and image_id in tasks:
            _close(tasks[image_id])
        if label == DISPUTED and image_id in tasks:
            _reopen(tasks[image_id])
    session.flush()
    exploration.queue_disputed(
        session, [image_id for image_id, image in images.items() if image.verdict is Verdict.CONFLICT]
    )
    embedded = queries.list_embedded(session, project_id, image_ids)
    # Images without a place in the space of the active version change no memory; scoring tells of them.
    update_memory(session, project_id, set().union(*(touched.get(image_id, set()) for image_id in embedded)))
    return {image_id for image_id in images if are_disputed(opinions[image_id])}


def _add_missing(
    session: Session,
    project_id: uuid.UUID,
    pairs: Sequence[tuple[uuid.UUID, uuid.UUID]],
    annotator_id: uuid.UUID | None,
    source: LabelSource,
    images: dict[uuid.UUID, Image],
) -> None:
    present = {(found.image_id, found.category_id) for found in queries.list_standing(session, list(images))}
    session.add_all(
        Annotation(
            project_id=project_id,
            image_id=image_id,
            annotator_id=annotator_id,
            source=source,
            verdict=Verdict.KNOWN,
            category_id=category_id,
        )
        for image_id, category_id in dict.fromkeys(pairs)
        if image_id in images and (image_id, category_id) not in present
    )
    session.flush()


def _opinions_by_image(
    session: Session, image_ids: Sequence[uuid.UUID]
) -> defaultdict[uuid.UUID, list[Opinion]]:
    found: defaultdict[uuid.UUID, list[Opinion]] = defaultdict(list)
    for annotation in queries.list_standing(session, image_ids):
        found[annotation.image_id] += opinions_of([annotation])
    return found


def _reopen(task: AnnotationTask) -> None:
    if task.state is TaskState.DONE:
        task.state = TaskState.OPEN
        task.done_at = None


def _close(task: AnnotationTask) -> None:
    if task.state is not TaskState.DONE:
        task.state = TaskState.DONE
        task.done_at = utc_now()

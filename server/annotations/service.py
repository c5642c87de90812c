"""The annotation loop: hold an image (see ``holds``), answer it, take the answer back."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from server.annotations import holds, queries
from server.annotations.consensus import Label, label_of
from server.annotations.holds import Hold, claim_next, free_expired, get_held, release, renew, skip
from server.annotations.labels import apply_label, opinions_of, record_labels, update_memory
from server.categories import service as categories
from server.categories.naming import key_of
from server.errors import Conflict, InvalidInput
from server.tables import (
    Annotation,
    AnnotationTask,
    Category,
    CategoryStatus,
    Image,
    LabelSource,
    Project,
    TaskState,
    User,
    Verdict,
)
from server.tables.base import utc_now

__all__ = [
    "Answer",
    "Hold",
    "Receipt",
    "claim_next",
    "free_expired",
    "get_held",
    "record_labels",
    "release",
    "renew",
    "skip",
    "submit",
    "summarise",
    "undo",
]


@dataclass(frozen=True)
class Answer:
    """What a person says of an image.

    KNOWN takes ``category_id``, or ``name`` as an exact name or alias; NEW takes ``name`` and, once the
    person has seen the evidence of the naming check, the categories that it is ``different_from``.
    ``remember_misspelling`` makes what was typed first lead to the category from now on.
    """

    verdict: Verdict
    category_id: uuid.UUID | None = None
    name: str | None = None
    different_from: tuple[uuid.UUID, ...] = ()
    remember_misspelling: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What became of an answer.

    ``is_created``: its category is new. ``is_repeated``: it had arrived before, nothing was done now.
    ``is_late``: somebody else has the image by now, so the answer is kept as a second opinion.
    ``holder``: who held the image, for the next claim.
    """

    annotation_id: uuid.UUID
    category: Category | None
    is_created: bool = False
    is_repeated: bool = False
    is_late: bool = False
    holder: uuid.UUID | None = None


def submit(
    session: Session,
    project: Project,
    user: User,
    task_id: uuid.UUID,
    token: uuid.UUID,
    answer: Answer,
) -> Receipt:
    """Store an answer and give the image its label.

    Raises:
        NameQuestion: the new name may mean a category in use; nothing is stored, the hold goes on.
        Conflict: ``already-answered``: this hold has brought another answer before.
        InvalidInput: the category is not there, or the name cannot be one.
    """
    task = holds.lock_task(session, project.id, task_id)
    image = queries.get_image_locked(session, task.image_id)
    if earlier := queries.find_by_token(session, token):
        return _repeat(session, project, task, earlier, user, answer)
    if not holds.is_holder(task, user, token):
        return _second_opinion(session, project, task, user, token, answer)
    category, is_created = _category_for(session, project, user, image, answer)
    label = _label(answer, category, is_created=is_created)
    annotation = queries.add_annotation(session, task, user.id, label, token=token, is_current=True)
    task.state = TaskState.DONE
    task.done_at = utc_now()
    # The last person who looked settles it: see `label_of`.
    _set_label(session, image, label)
    return Receipt(annotation.id, category, is_created=is_created, holder=task.lease_holder)


def _second_opinion(
    session: Session, project: Project, task: AnnotationTask, user: User, token: uuid.UUID, answer: Answer
) -> Receipt:
    """Keep an answer that counts no more. It changes no names: a new one stays NEW without a category."""
    category = None
    if answer.verdict is Verdict.NEW and answer.name is not None:
        category = categories.find_by_name(session, project.id, answer.name)
    elif answer.verdict is Verdict.KNOWN:
        category = _known_category(session, project, answer)
    label = _label(answer, category, is_created=False)
    annotation = queries.add_annotation(session, task, user.id, label, token=token, is_current=False)
    return Receipt(annotation.id, category, is_late=True)


def _label(answer: Answer, category: Category | None, *, is_created: bool) -> Label:
    if category is None:
        return Label(answer.verdict, None)
    return Label(Verdict.NEW if is_created else Verdict.KNOWN, category.id)


def _category_for(
    session: Session,
    project: Project,
    user: User,
    image: Image,
    answer: Answer,
) -> tuple[Category | None, bool]:
    """The category that the answer names, and whether it was made now."""
    if answer.verdict is Verdict.NEW and answer.name is not None:
        return categories.resolve(
            session,
            project,
            user,
            answer.name,
            image_id=image.id,
            different_from=answer.different_from,
        )
    if answer.verdict is not Verdict.KNOWN:
        return None, False
    category = _known_category(session, project, answer)
    if answer.remember_misspelling:
        categories.remember_misspelling(session, project, user, category, answer.remember_misspelling)
    return category, False


def _known_category(session: Session, project: Project, answer: Answer) -> Category:
    if answer.category_id is None:
        named = categories.find_by_name(session, project.id, answer.name or "")
        if named is None:
            raise InvalidInput(
                f"No category goes by the name {answer.name}. Pick one from the list, or answer NEW to "
                "make it.",
                code="no-such-category",
            )
        return named
    category = session.get(Category, answer.category_id)
    if category is None or category.project_id != project.id:
        raise InvalidInput(
            "There is no such category in this project. Pick another.", code="no-such-category"
        )
    if category.status is CategoryStatus.RETIRED:
        raise InvalidInput(
            f"{category.name} is retired and takes no more images. Pick another category, or have it "
            "brought back first.",
            code="category-retired",
        )
    return category


def _repeat(
    session: Session,
    project: Project,
    task: AnnotationTask,
    earlier: Annotation,
    user: User,
    answer: Answer,
) -> Receipt:
    if earlier.task_id != task.id:
        raise Conflict(
            "This token is that of a hold on another image, which is answered. Claim an image, then answer "
            "it with the token that comes with it.",
            code="already-answered",
            annotation_id=str(earlier.id),
        )
    category = session.get(Category, earlier.category_id) if earlier.category_id else None
    if earlier.annotator_id != user.id or not _is_same(session, project, earlier, category, answer):
        raise Conflict(
            "Another answer has been sent for this image under the same hold. Undo it, then answer anew.",
            code="already-answered",
            annotation_id=str(earlier.id),
        )
    return Receipt(earlier.id, category, is_repeated=True, is_late=not earlier.is_current)


def _is_same(
    session: Session, project: Project, earlier: Annotation, category: Category | None, answer: Answer
) -> bool:
    """Whether an answer says what was said before."""
    if category is None:
        return earlier.verdict is answer.verdict
    if answer.category_id is not None:
        return answer.category_id == category.id
    if answer.name is None:
        return False
    named = categories.find_by_name(session, project.id, answer.name)
    # An undo takes a category away, but not the fact that its name was sent.
    return (named.name_key if named else key_of(answer.name)) == category.name_key


def undo(session: Session, project: Project, user: User, holder: uuid.UUID | None) -> dict[str, Any]:
    """Withdraw the person's latest answer that stands and hold its image again, as JSON for the page.

    What the ``holder`` held meanwhile is given back. A category that the answer had made, and that no
    image has any more, goes with it unless somebody else has confirmed it.

    Raises:
        Conflict: ``nothing-to-undo``.
    """
    queries.lock_journal_of(session, project.id, user.id)
    annotation = queries.find_latest_of(session, project.id, user.id)
    if annotation is None or annotation.task_id is None or annotation.verdict is None:
        raise Conflict("There is no answer of yours left to undo.", code="nothing-to-undo")
    if holder is not None:
        queries.free_holder(session, project.id, user.id, holder)
    task = holds.lock_task(session, project.id, annotation.task_id)
    image = queries.get_image_locked(session, annotation.image_id)
    session.add(
        Annotation(
            project_id=project.id,
            image_id=image.id,
            task_id=task.id,
            annotator_id=user.id,
            source=LabelSource.HUMAN,
            verdict=None,
            category_id=annotation.category_id,
            withdraws_id=annotation.id,
        )
    )
    session.flush()
    _set_label(session, image, label_of(opinions_of(queries.list_standing(session, [image.id]))))
    category = session.get(Category, annotation.category_id) if annotation.category_id else None
    if category and annotation.verdict is Verdict.NEW:
        _take_back(session, project, user, category)
    task.done_at = None
    holds.hold(task, user, uuid.uuid4(), holder, project.hold_seconds)
    session.flush()
    return {
        "undone": {
            "annotation_id": str(annotation.id),
            "verdict": annotation.verdict,
            "category_name": category.name if category else None,
        },
        "task": holds.show(session, project.id, task.id),
    }


def _take_back(session: Session, project: Project, user: User, category: Category) -> None:
    """Take a category away whose first label is withdrawn, unless somebody else has confirmed it or it is
    in use by now."""
    unconfirmed = {CategoryStatus.PROPOSED, categories.first_status(session, project, user)}
    if category.status in unconfirmed and not queries.has_images(session, category.id):
        categories.set_status(session, user, category, CategoryStatus.RETIRED)


def summarise(session: Session, project: Project, user: User) -> dict[str, int]:
    """Figures of the queue: what waits, by flag; what is held; what was labelled since midnight UTC."""
    counts = queries.count_queue(session, project.id)
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    total, mine = queries.count_labelled(session, project.id, user.id, midnight)
    return {
        "waiting": counts.waiting,
        "new": counts.new,
        "uncertain": counts.uncertain,
        "held": queries.count_held(session, project.id),
        "labelled_today": total,
        "mine_today": mine,
    }


def _set_label(session: Session, image: Image, label: Label) -> None:
    touched = apply_label(image, label)
    session.flush()
    update_memory(session, image.project_id, touched)

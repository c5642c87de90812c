"""The annotation loop: hold an image, answer it, take the answer back.

A *hold* is a row's lease: owner, token, expiry. The token travels with the answer, so an answer that is
sent twice is stored once, and one that comes too late is recognised. A hold that has run out still counts
as long as nobody else has taken the image since.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from server.addresses import picture_urls
from server.annotations import queries
from server.annotations.cards import card
from server.annotations.consensus import Label, label_of
from server.annotations.labels import apply_label, opinions_of, record_labels, update_memory
from server.categories import service as categories
from server.categories.naming import key_of
from server.errors import Conflict, InvalidInput, NotFound
from server.predictions.flags import BAND, CUT
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


@dataclass(frozen=True)
class Hold:
    """Until when an image is held."""

    expires_at: datetime | None
    seconds_left: float


def claim_next(
    session: Session, project: Project, user: User, holder: uuid.UUID | None, *, durable: bool = False
) -> dict[str, Any]:
    """Hold the image that is asked next, as JSON for the page.

    A ``holder`` (a tab, a program) that holds an image gets the same one again, its time renewed. Who has
    skipped all that is left gets it again, and ``skipped_again`` says so. ``durable`` keeps the disk flush
    of the commit, for a transaction that holds an answer too.
    """
    queries.prepare_claim(session, project.id, durable=durable, holder=holder)
    lease = {
        "project_id": project.id,
        "user_id": user.id,
        "holder": holder,
        "token": uuid.uuid4(),
        "hold_seconds": project.hold_seconds,
    }
    task_id, is_skipped = _hold_next(session, lease)
    outlook = queries.get_outlook(session, project.id, user.id)
    return {
        "task": _card(session, project.id, task_id) if task_id else None,
        "waiting": outlook.waiting,
        "waiting_is_more": outlook.waiting == queries.WAITING_CAP,
        "held_by_others": outlook.held_by_others,
        "skipped_again": is_skipped,
        "upcoming": [
            {"image_id": str(image_id), **picture_urls(project.id, image_id)} for image_id in outlook.upcoming
        ],
    }


def _hold_next(session: Session, lease: dict[str, Any]) -> tuple[uuid.UUID | None, bool]:
    """The task that is held now, and whether its holder had skipped it before."""
    if lease["holder"] and (task_id := queries.execute_claim(session, queries.RENEW_OF_HOLDER, **lease)):
        return task_id, False
    for statement in (queries.CLAIM_HEAD, queries.CLAIM_EXPIRED):
        if task_id := queries.execute_claim(session, statement, **lease):
            return task_id, False
    task_id = queries.execute_claim(session, queries.CLAIM_SKIPPED, **lease)
    return task_id, task_id is not None


def _card(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> dict[str, Any]:
    """A held task as the page shows it, with the present memory behind its suggestions."""
    row = queries.find_card(session, project_id, task_id)
    if row is None:
        raise _no_task()
    return card(project_id, row)


def get_held(session: Session, project: Project, user: User, task_id: uuid.UUID) -> dict[str, Any]:
    """An image that this person holds, as JSON for the page.

    Raises:
        NotFound: the person does not hold it; tokens of others stay with them.
    """
    task = queries.find_task(session, project.id, task_id)
    if task is None or task.state is not TaskState.LEASED or task.lease_owner_id != user.id:
        raise NotFound("You do not hold such an image in this project.")
    return _card(session, project.id, task_id)


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
    task = _locked_task(session, project.id, task_id)
    image = queries.get_image_locked(session, task.image_id)
    if earlier := queries.find_by_token(session, token):
        return _repeat(session, project, task, earlier, user, answer)
    if not _is_holder(task, user, token):
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


def _is_holder(task: AnnotationTask, user: User, token: uuid.UUID) -> bool:
    """Whether the image is still this person's: nobody has taken it since, even if the time is over."""
    return task.state is not TaskState.DONE and task.lease_owner_id == user.id and task.lease_token == token


def skip(
    session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID
) -> uuid.UUID | None:
    """Pass an image on to others; it comes back to this person only when nothing else is left.

    Returns who held it, for the next claim.
    """
    task = _locked_task(session, project.id, task_id)
    queries.add_skip(session, task.id, user.id)
    return _give_back(session, task, user, token)


def release(session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID) -> None:
    """Give an image back unanswered. Nothing happens where it is not held any more."""
    _give_back(session, _locked_task(session, project.id, task_id), user, token)


def _give_back(session: Session, task: AnnotationTask, user: User, token: uuid.UUID) -> uuid.UUID | None:
    if not _is_holder(task, user, token):
        return None
    task.state = TaskState.OPEN
    session.flush()
    return task.lease_holder


def renew(session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID) -> Hold:
    """Hold the image for the full time from now on.

    Raises:
        Conflict: ``hold-lost``: somebody else has it by now, or it is answered.
    """
    task = _locked_task(session, project.id, task_id)
    if not _is_holder(task, user, token):
        raise Conflict(
            "This image is not yours any more: the hold ran out and somebody else has it, or it is "
            "answered. Go on with the next one.",
            code="hold-lost",
        )
    _hold(task, user, token, task.lease_holder, project.hold_seconds)
    session.flush()
    return Hold(task.lease_expires_at, project.hold_seconds)


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
    task = _locked_task(session, project.id, annotation.task_id)
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
    _hold(task, user, uuid.uuid4(), holder, project.hold_seconds)
    session.flush()
    return {
        "undone": {
            "annotation_id": str(annotation.id),
            "verdict": annotation.verdict,
            "category_name": category.name if category else None,
        },
        "task": _card(session, project.id, task.id),
    }


def _take_back(session: Session, project: Project, user: User, category: Category) -> None:
    """Take a category away whose first label is withdrawn, unless somebody else has confirmed it or it is
    in use by now."""
    unconfirmed = {CategoryStatus.PROPOSED, categories.first_status(session, project, user)}
    if category.status in unconfirmed and not queries.has_images(session, category.id):
        categories.set_status(session, user, category, CategoryStatus.RETIRED)


def free_expired(session: Session) -> int:
    """Give back every image whose hold has run out; how many there were. For the worker's clock."""
    return queries.free_expired(session)


def summarise(session: Session, project: Project, user: User) -> dict[str, int]:
    """Figures of the queue: what waits, by flag; what is held; what was labelled since midnight UTC."""
    counts = queries.count_queue(session, project.id, new_from=CUT + BAND, known_below=CUT - BAND)
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


def _hold(task: AnnotationTask, user: User, token: uuid.UUID, holder: uuid.UUID | None, seconds: int) -> None:
    task.state = TaskState.LEASED
    task.lease_owner_id = user.id
    task.lease_token = token
    task.lease_holder = holder
    task.lease_expires_at = func.now() + timedelta(seconds=seconds)


def _locked_task(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> AnnotationTask:
    task = queries.find_task_locked(session, project_id, task_id)
    if task is None:
        raise _no_task()
    return task


def _no_task() -> NotFound:
    return NotFound("There is no such image in the queue of this project.")

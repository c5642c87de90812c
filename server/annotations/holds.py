"""Holds: who has which image in hand, from when until when.

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
from server.errors import Conflict, NotFound
from server.tables import AnnotationTask, Project, TaskState, User


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
        "task": show(session, project.id, task_id) if task_id else None,
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


def get_held(session: Session, project: Project, user: User, task_id: uuid.UUID) -> dict[str, Any]:
    """An image that this person holds, as JSON for the page.

    Raises:
        NotFound: the person does not hold it; tokens of others stay with them.
    """
    task = queries.find_task(session, project.id, task_id)
    if task is None or task.state is not TaskState.LEASED or task.lease_owner_id != user.id:
        raise NotFound("You do not hold such an image in this project.")
    return show(session, project.id, task_id)


def skip(
    session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID
) -> uuid.UUID | None:
    """Pass an image on to others; it comes back to this person only when nothing else is left.

    Returns who held it, for the next claim.
    """
    task = lock_task(session, project.id, task_id)
    queries.add_skip(session, task.id, user.id)
    return _give_back(session, task, user, token)


def release(session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID) -> None:
    """Give an image back unanswered. Nothing happens where it is not held any more."""
    _give_back(session, lock_task(session, project.id, task_id), user, token)


def _give_back(session: Session, task: AnnotationTask, user: User, token: uuid.UUID) -> uuid.UUID | None:
    if not is_holder(task, user, token):
        return None
    task.state = TaskState.OPEN
    session.flush()
    return task.lease_holder


def renew(session: Session, project: Project, user: User, task_id: uuid.UUID, token: uuid.UUID) -> Hold:
    """Hold the image for the full time from now on.

    Raises:
        Conflict: ``hold-lost``: somebody else has it by now, or it is answered.
    """
    task = lock_task(session, project.id, task_id)
    if not is_holder(task, user, token):
        raise Conflict(
            "This image is not yours any more: the hold ran out and somebody else has it, or it is "
            "answered. Go on with the next one.",
            code="hold-lost",
        )
    hold(task, user, token, task.lease_holder, project.hold_seconds)
    session.flush()
    return Hold(task.lease_expires_at, project.hold_seconds)


def free_expired(session: Session) -> int:
    """Give back every image whose hold has run out; how many there were. For the worker's clock."""
    return queries.free_expired(session)


def show(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> dict[str, Any]:
    """A held task as the page shows it, with the present memory behind its suggestions."""
    row = queries.find_card(session, project_id, task_id)
    if row is None:
        raise _no_task()
    return card(project_id, row)


def is_holder(task: AnnotationTask, user: User, token: uuid.UUID) -> bool:
    """Whether the image is still this person's: nobody has taken it since, even if the time is over."""
    return task.state is not TaskState.DONE and task.lease_owner_id == user.id and task.lease_token == token


def hold(task: AnnotationTask, user: User, token: uuid.UUID, holder: uuid.UUID | None, seconds: int) -> None:
    """Give the image of a locked task to this person from now on."""
    task.state = TaskState.LEASED
    task.lease_owner_id = user.id
    task.lease_token = token
    task.lease_holder = holder
    task.lease_expires_at = func.now() + timedelta(seconds=seconds)


def lock_task(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> AnnotationTask:
    """The task, locked until the end of the transaction. Raises :class:`NotFound`."""
    task = queries.find_task_locked(session, project_id, task_id)
    if task is None:
        raise _no_task()
    return task


def _no_task() -> NotFound:
    return NotFound("There is no such image in the queue of this project.")

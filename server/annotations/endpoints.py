"""Claim an image, answer it, pass it on, take the answer back."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Body, status
from fastapi.responses import JSONResponse

from server.annotations import service
from server.annotations.schemas import (
    ClaimIn,
    ClaimOut,
    ErrorOut,
    HoldIn,
    HoldOut,
    QueueOut,
    SkipIn,
    SkipOut,
    SubmitIn,
    SubmitOut,
    TaskOut,
    UndoOut,
)
from server.deps import Annotate, ReadProject, SessionDep
from server.error_handlers import error_response
from server.errors import Conflict

router = APIRouter(prefix="/projects/{project_id}/queue", tags=["queue"])

OptionalClaim = Annotated[ClaimIn | None, Body()]
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": ErrorOut}}


@router.get("")
def get_queue(access: ReadProject, session: SessionDep) -> QueueOut:
    """Figures of the queue."""
    return QueueOut(**service.summarise(session, access.project, access.user))


@router.post("/claim", responses={200: {"model": ClaimOut}})
def claim(access: Annotate, session: SessionDep, body: OptionalClaim = None) -> JSONResponse:
    """Hold the image that is asked next.

    Nobody else gets it until the hold runs out, is given back or is answered. Claiming again with the same
    `holder` returns the same image.
    """
    return JSONResponse(service.claim_next(session, access.project, access.user, _holder(body)))


@router.get("/{task_id}", responses={200: {"model": TaskOut}})
def get_task(task_id: uuid.UUID, access: Annotate, session: SessionDep) -> JSONResponse:
    """An image in hand as it stands now, with suggestions from the present memory."""
    return JSONResponse(service.get_held(session, access.project, access.user, task_id))


@router.post("/{task_id}/submit", responses={200: {"model": SubmitOut}, **CONFLICT})
def submit(task_id: uuid.UUID, body: SubmitIn, access: Annotate, session: SessionDep) -> JSONResponse:
    """Answer an image. The same answer under the same token is stored once.

    409 `name-check`: a new name needs a look first; nothing is stored and the hold goes on.
    409 `hold-lost`: somebody else has the image by now; the answer is kept as a second opinion.
    """
    answer = service.Answer(
        verdict=body.verdict,
        category_id=body.category_id,
        name=body.name,
        different_from=tuple(body.different_from),
        remember_misspelling=body.remember_misspelling,
    )
    receipt = service.submit(session, access.project, access.user, task_id, body.token, answer)
    following = _next(access, session, receipt.holder) if body.claim_next else None
    if receipt.is_late:
        # Not raised: that would roll back the second opinion.
        return _hold_lost(receipt, following)
    return JSONResponse(
        {
            "annotation_id": str(receipt.annotation_id),
            "category": receipt.category
            and {
                "id": str(receipt.category.id),
                "name": receipt.category.name,
                "created": receipt.is_created,
            },
            "repeated": receipt.is_repeated,
            "next": following,
        }
    )


def _hold_lost(receipt: service.Receipt, following: dict[str, Any] | None) -> JSONResponse:
    return error_response(
        Conflict(
            "The hold ran out and somebody else has this image by now. "
            "Your answer is kept as a second opinion.",
            code="hold-lost",
            kept=True,
            annotation_id=receipt.annotation_id,
            next=following,
        )
    )


@router.post("/{task_id}/skip", responses={200: {"model": SkipOut}})
def skip(task_id: uuid.UUID, body: SkipIn, access: Annotate, session: SessionDep) -> JSONResponse:
    """Pass an image on to others. You get it again only when you have skipped all that is left."""
    holder = service.skip(session, access.project, access.user, task_id, body.token)
    return JSONResponse({"next": _next(access, session, holder) if body.claim_next else None})


@router.post("/{task_id}/renew", responses=CONFLICT)
def renew(task_id: uuid.UUID, body: HoldIn, access: Annotate, session: SessionDep) -> HoldOut:
    """Hold the image for the full time from now on. 409 `hold-lost`: somebody else has it by now."""
    return HoldOut.model_validate(service.renew(session, access.project, access.user, task_id, body.token))


@router.post("/{task_id}/release", status_code=status.HTTP_204_NO_CONTENT)
def release(task_id: uuid.UUID, body: HoldIn, access: Annotate, session: SessionDep) -> None:
    """Give an image back unanswered."""
    service.release(session, access.project, access.user, task_id, body.token)


@router.post("/undo", responses={200: {"model": UndoOut}, **CONFLICT})
def undo(access: Annotate, session: SessionDep, body: OptionalClaim = None) -> JSONResponse:
    """Withdraw your latest answer and hold its image again; repeatedly, one answer each time."""
    return JSONResponse(service.undo(session, access.project, access.user, _holder(body)))


def _holder(body: ClaimIn | None) -> uuid.UUID | None:
    return body.holder if body else None


def _next(access: Annotate, session: SessionDep, holder: uuid.UUID | None) -> dict[str, Any]:
    return service.claim_next(session, access.project, access.user, holder, durable=True)

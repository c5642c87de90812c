"""Images in, their report and results out."""

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from server.batches import service
from server.batches.queries import Order
from server.batches.schemas import BatchIn, BatchOut, ImageOut, ItemOut, ItemsOut, ReceiptOut, ResultsOut
from server.batches.service import Upload
from server.deps import ProjectAccess, ReadImages, SessionDep, SettingsDep, StoreDep, UploadImages
from server.errors import InvalidInput, NotPermitted
from server.permissions import Permission
from server.predictions.flags import Flag
from server.tables import Batch, BatchKind, Image, ItemOutcome

router = APIRouter(tags=["batches"])

FILES = "files"
# Each part is a file of ours while the request lasts.
MOST_FILES = 10_000
MULTIPART = "multipart/form-data"
_FILE_PARTS = {"type": "array", "items": {"type": "string", "format": "binary"}}


# --- what a request brings -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """Fields and files of a request. ``is_form`` tells a multipart body from JSON."""

    fields: dict[str, Any]
    uploads: list[Upload]
    is_form: bool


async def read_sent(request: Request, _: UploadImages, session: SessionDep) -> AsyncIterator[Sent]:
    """The body as it came; its files live until the answer has left.

    Read here and not by FastAPI, which would take in the whole upload before asking who sends it.
    """
    # A body may take minutes to arrive: its sender is known by now, the connection goes to others.
    session.commit()
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("application/json"):
        yield Sent(await _read_json(request), [], is_form=False)
    elif content_type.startswith(MULTIPART):
        form = await _read_form(request)
        try:
            yield _from_form(form)
        finally:
            await form.close()
    else:
        raise InvalidInput(
            f"Send the files as {MULTIPART}, in parts named `{FILES}`.", code="bad-content-type"
        )


async def _read_json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise InvalidInput("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object.")
    return body


async def _read_form(request: Request) -> FormData:
    try:
        return await request.form(max_files=MOST_FILES, max_fields=100)
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise InvalidInput(
                f"More than {MOST_FILES:,} files in one request. Pack them as a zip, or send them in several "
                "requests to one batch.",
                code="too-many-files",
                most=MOST_FILES,
            ) from error
        raise InvalidInput(f"The form cannot be read. {error.detail}", code="bad-form") from error


def _from_form(form: FormData) -> Sent:
    fields: dict[str, Any] = {}
    uploads = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            uploads.append(_as_upload(name, value))
        elif name == FILES:
            raise InvalidInput(
                'A part named `files` has no file name. Add `filename="…"` to its Content-Disposition.',
                code="no-file-name",
            )
        else:
            fields[name] = value
    return Sent(fields, uploads, is_form=True)


def _as_upload(part: str, file: UploadFile) -> Upload:
    if part != FILES:
        raise InvalidInput(f"Files go into parts named `{FILES}`, not `{part}`.", code="bad-part-name")
    if not file.filename:
        raise InvalidInput(
            "A file has an empty name. Choose at least one file, and send each with its name.",
            code="no-file-name",
        )
    return Upload(file.filename, file.file, file.size or 0)


SentDep = Annotated[Sent, Depends(read_sent, scope="function")]


def _openapi(*, with_batch: bool) -> dict[str, Any]:
    """The body in the API's documentation, since it is read by hand."""
    batch = {"name": {"type": "string"}, "kind": {"type": "string", "enum": ["unlabelled", "labelled"]}}
    form = {"type": "object", "properties": {**(batch if with_batch else {}), FILES: _FILE_PARTS}}
    content: dict[str, Any] = {MULTIPART: {"schema": form}}
    if with_batch:
        content["application/json"] = {"schema": {"type": "object", "properties": batch}}
    return {"requestBody": {"required": True, "content": content}}


def get_batch(batch_id: uuid.UUID, access: ReadImages, session: SessionDep) -> Batch:
    """The batch of the path, in the project of the path."""
    return service.get_batch(session, access.project.id, batch_id)


def get_image(image_id: uuid.UUID, access: ReadImages, session: SessionDep) -> Image:
    """The image of the path, in the project of the path."""
    return service.get_image(session, access.project.id, image_id)


BatchDep = Annotated[Batch, Depends(get_batch)]
ImageDep = Annotated[Image, Depends(get_image)]


# --- upload --------------------------------------------------------------------------------------------


@router.post(
    "/projects/{project_id}/batches",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_openapi(with_batch=True),
)
def create_batch(
    access: UploadImages, sent: SentDep, session: SessionDep, settings: SettingsDep, store: StoreDep
) -> ReceiptOut:
    """Make a batch: by JSON an empty one, by a form with its first files.

    At most 10,000 files in one request; a zip counts as one. One bad file never fails the rest: each has
    its line in ``items``, with the reason and the mend.
    """
    wanted = _parse_batch(sent.fields)
    _require_labels(access, wanted.kind)
    batch = service.create_batch(session, access.project.id, wanted.name, wanted.kind, access.user.id)
    return _receive(session, settings, store, batch, sent)


@router.post("/projects/{project_id}/batches/{batch_id}/files", openapi_extra=_openapi(with_batch=False))
def add_files(
    access: UploadImages,
    batch: BatchDep,
    sent: SentDep,
    session: SessionDep,
    settings: SettingsDep,
    store: StoreDep,
) -> ReceiptOut:
    """Add files to a batch. Sending a file again changes nothing, so a client may simply retry."""
    _require_labels(access, batch.kind)
    return _receive(session, settings, store, batch, sent)


@router.post("/projects/{project_id}/batches/{batch_id}/cancel")
def cancel_work(access: UploadImages, batch: BatchDep, session: SessionDep) -> BatchOut:
    """Call off the unpacking and scoring of a batch; what is recorded stays. ``resume`` goes on."""
    service.cancel_work(session, batch)
    return BatchOut.of(service.summary(session, batch))


@router.post("/projects/{project_id}/batches/{batch_id}/resume")
def resume(access: UploadImages, batch: BatchDep, session: SessionDep, settings: SettingsDep) -> BatchOut:
    """Go on with the unpacking and scoring of a batch that has failed or was called off."""
    service.resume(session, settings, batch)
    return BatchOut.of(service.summary(session, batch))


def _parse_batch(fields: dict[str, Any]) -> BatchIn:
    try:
        return BatchIn.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        ) from error


def _require_labels(access: ProjectAccess, kind: BatchKind) -> None:
    if kind is BatchKind.LABELLED and Permission.LABEL_IMPORT not in access.permissions:
        raise NotPermitted("Importing labels needs the role of an owner. Ask one, or upload without labels.")


def _receive(
    session: SessionDep, settings: SettingsDep, store: StoreDep, batch: Batch, sent: Sent
) -> ReceiptOut:
    if sent.is_form:
        receipt = service.receive(session, settings, store, batch, sent.uploads)
    else:
        receipt = service.Receipt([], [])
    return ReceiptOut.of_receipt(service.summary(session, batch), receipt)


# --- report and results --------------------------------------------------------------------------------


@router.get("/projects/{project_id}/batches")
def list_batches(
    access: ReadImages,
    session: SessionDep,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[BatchOut]:
    """Batches of the project, newest first."""
    summaries = service.list_batches(session, access.project.id, offset=offset, limit=limit)
    return [BatchOut.of(summary) for summary in summaries]


@router.get("/projects/{project_id}/batches/{batch_id}")
def read_batch(batch: BatchDep, session: SessionDep) -> BatchOut:
    """One batch with its counts and the work that is going on for it."""
    return BatchOut.of(service.summary(session, batch))


@router.get("/projects/{project_id}/batches/{batch_id}/items")
def list_items(
    batch: BatchDep,
    session: SessionDep,
    outcome: ItemOutcome | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ItemsOut:
    """The report: a line for each file, by name."""
    items, total = service.list_items(session, batch, outcome, offset=offset, limit=limit)
    return ItemsOut(items=[ItemOut.of(item) for item in items], total=total)


@router.get("/projects/{project_id}/batches/{batch_id}/results")
def list_results(
    access: ReadImages,
    batch: BatchDep,
    session: SessionDep,
    flag: Literal["known", "uncertain", "new"] | None = None,
    order: Order = Order.ENERGY,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> ResultsOut:
    """What the active version says of the images that this batch brought, the most telling first."""
    results = service.list_results(
        session, access.project, batch, Flag(flag) if flag else None, order, after=after, limit=limit
    )
    return ResultsOut.of(results)


# --- images --------------------------------------------------------------------------------------------


@router.get("/projects/{project_id}/images/{image_id}", tags=["images"])
def read_image(access: ReadImages, image: ImageDep, session: SessionDep) -> ImageOut:
    """One image, its label and what the active version says of it."""
    result = service.get_result(session, access.project, image)
    return ImageOut.of(image, service.label_of(session, image), result)


@router.get("/projects/{project_id}/images/{image_id}/thumb", tags=["images"], response_class=Response)
def read_thumbnail(request: Request, image: ImageDep, store: StoreDep) -> Response:
    """JPEG with a short side of at most 256 px, made by us from the decoded picture."""
    return _picture(request, image.sha256, store.thumbnail)


@router.get("/projects/{project_id}/images/{image_id}/display", tags=["images"], response_class=Response)
def read_display(request: Request, image: ImageDep, store: StoreDep) -> Response:
    """JPEG within 1600 x 1600 px, made by us from the decoded picture."""
    return _picture(request, image.sha256, store.display)


def _picture(request: Request, sha256: str, read: Callable[[str], bytes]) -> Response:
    headers = {
        # The picture of an id never changes; only this person's browser may keep it.
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": f'"{sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(read(sha256), media_type="image/jpeg", headers=headers)

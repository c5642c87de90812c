"""What goes in and out of the batch and image endpoints."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from server.addresses import picture_url
from server.batches.service import BatchSummary, Receipt, Result, Results, Unpacking
from server.predictions.flags import Flag
from server.tables import BatchItem, BatchKind, BatchStatus, Image, ItemOutcome, Verdict
from server.work.schemas import JobOut


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class BatchIn(BaseModel):
    """A new batch. ``labelled``: the folder directly above each file names its category."""

    name: Annotated[str, Field(max_length=200)] = ""
    kind: Annotated[BatchKind, BeforeValidator(_upper)] = BatchKind.UNLABELLED


class FileOutcome(StrEnum):
    """What became of a file in this request. UNPACKING: an archive whose files follow in the report."""

    STORED = "STORED"
    DUPLICATE = "DUPLICATE"
    REFUSED = "REFUSED"
    UNPACKING = "UNPACKING"


class ItemOut(BaseModel):
    """One file: its line in the batch's report, or an archive that is being unpacked."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    outcome: FileOutcome
    image_id: uuid.UUID | None
    code: str | None
    message: str | None
    notes: list[str]
    byte_size: int

    @classmethod
    def of(cls, file: BatchItem | Unpacking) -> "ItemOut":
        """The file on the wire."""
        if isinstance(file, BatchItem):
            return cls.model_validate(file)
        return cls(
            name=file.name,
            outcome=FileOutcome.UNPACKING,
            image_id=None,
            code=None,
            message=f"{file.members} files are being unpacked.",
            notes=[],
            byte_size=file.byte_size,
        )


class Counts(BaseModel):
    """Number of files of a batch by outcome."""

    stored: int
    duplicate: int
    refused: int


class BatchOut(BaseModel):
    """A batch with the counts of its report and the work that is going on for it."""

    id: uuid.UUID
    name: str
    kind: BatchKind
    status: BatchStatus
    created_at: datetime
    created_by: str | None
    counts: Counts
    jobs: list[JobOut]

    @classmethod
    def of(cls, summary: BatchSummary) -> "BatchOut":
        """The batch on the wire."""
        return cls.model_validate(_batch_fields(summary))


class ReceiptOut(BatchOut):
    """A batch with what became of the files of this request.

    ``ignored`` names files of systems and editors, which are nobody's pictures.
    """

    items: list[ItemOut]
    ignored: list[str]

    @classmethod
    def of_receipt(cls, summary: BatchSummary, receipt: Receipt) -> "ReceiptOut":
        """The batch and the receipt on the wire."""
        items = [ItemOut.of(file) for file in receipt.files]
        return cls.model_validate({**_batch_fields(summary), "items": items, "ignored": receipt.ignored})


def _batch_fields(summary: BatchSummary) -> dict[str, Any]:
    batch, counts = summary.batch, summary.counts
    return {
        "id": batch.id,
        "name": batch.name,
        "kind": batch.kind,
        "status": batch.status,
        "created_at": batch.created_at,
        "created_by": summary.created_by,
        "counts": {outcome.value.lower(): counts.get(outcome, 0) for outcome in ItemOutcome},
        "jobs": [JobOut.model_validate(job) for job in summary.jobs],
    }


class ItemsOut(BaseModel):
    """A page of a batch's report, by file name."""

    items: list[ItemOut]
    total: int


class RankedCategory(BaseModel):
    """A category with its probability or its distance."""

    category_id: uuid.UUID
    name: str
    value: float


class ResultOut(BaseModel):
    """An image with what the active version says of it. ``label`` is what people called it."""

    image_id: uuid.UUID
    name: str
    width: int
    height: int
    thumb_url: str
    display_url: str
    verdict: Verdict | None
    label: str | None
    flag: Flag
    is_known: bool
    category_id: uuid.UUID | None
    category: str | None
    confidence: float
    unknown_score: float
    openness: float
    informativeness: float
    free_energy: float
    memory_revision: int
    top: list[RankedCategory]
    nearest: list[RankedCategory]

    @classmethod
    def of(cls, result: Result) -> "ResultOut":
        """The result on the wire."""
        prediction, image = result.scored.prediction, result.scored.image
        return cls(
            image_id=image.id,
            name=image.name,
            width=image.width,
            height=image.height,
            thumb_url=picture_url(image.project_id, image.id, "thumb"),
            display_url=picture_url(image.project_id, image.id, "display"),
            verdict=image.verdict,
            label=result.label,
            flag=result.flag,
            is_known=prediction.is_known,
            category_id=prediction.category_id,
            category=result.category,
            confidence=prediction.confidence,
            unknown_score=prediction.unknown_score,
            openness=prediction.openness,
            informativeness=prediction.informativeness,
            free_energy=prediction.free_energy,
            memory_revision=prediction.memory_revision,
            top=_ranked(result.top),
            nearest=_ranked(result.nearest),
        )


def _ranked(ranking: list[tuple[uuid.UUID, str, float]]) -> list[RankedCategory]:
    return [RankedCategory(category_id=key, name=name, value=value) for key, name, value in ranking]


class ResultsOut(BaseModel):
    """A page of results. ``next`` continues it; null: that was all. ``images`` counts scored or not."""

    results: list[ResultOut]
    counts: dict[Flag, int]
    images: int
    next: str | None

    @classmethod
    def of(cls, results: Results) -> "ResultsOut":
        """The page on the wire."""
        return cls(
            results=[ResultOut.of(result) for result in results.results],
            counts=results.counts,
            images=results.images,
            next=results.next,
        )


class ImageOut(BaseModel):
    """An image of the project; ``prediction`` is null until it has been scored."""

    id: uuid.UUID
    batch_id: uuid.UUID
    name: str
    media_type: str
    byte_size: int
    width: int
    height: int
    created_at: datetime
    thumb_url: str
    display_url: str
    verdict: Verdict | None
    category_id: uuid.UUID | None
    label: str | None
    prediction: ResultOut | None

    @classmethod
    def of(cls, image: Image, label: str | None, result: Result | None) -> "ImageOut":
        """The image on the wire."""
        return cls(
            id=image.id,
            batch_id=image.batch_id,
            name=image.name,
            media_type=image.media_type,
            byte_size=image.byte_size,
            width=image.width,
            height=image.height,
            created_at=image.created_at,
            thumb_url=picture_url(image.project_id, image.id, "thumb"),
            display_url=picture_url(image.project_id, image.id, "display"),
            verdict=image.verdict,
            category_id=image.category_id,
            label=label,
            prediction=ResultOut.of(result) if result else None,
        )

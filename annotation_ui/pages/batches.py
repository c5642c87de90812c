"""Batches: the list, adding images, what was made of them."""

import uuid
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from annotation_ui.forms import BLANK_IS_NONE, see
from annotation_ui.pages.shell import shell_of
from annotation_ui.render import page
from annotation_ui.views import FlagCounts, JobView, job_view, longest_of, result_sentence
from server.addresses import picture_url
from server.batches import service as batches
from server.batches.queries import Order
from server.batches.service import BatchSummary
from server.categories import service as categories
from server.deps import ReadImages, SessionDep, SettingsDep, UploadImages
from server.model_versions import service as versions
from server.predictions.flags import Flag
from server.tables import BatchKind, ItemOutcome, JobState
from server.tables.base import utc_now

router = APIRouter(prefix="/projects/{project_id}/batches")
PAGE = 30
TILES = 42
REPORT_LINES = 200


@router.get("")
def show_batches(
    access: ReadImages, session: SessionDep, offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> Response:
    """All acts of adding, newest first."""
    project = access.project
    found = batches.list_batches(session, project.id, offset=offset, limit=PAGE + 1)
    counts = batches.count_flags(session, project, [summary.batch.id for summary in found[:PAGE]])
    rows = [(summary, FlagCounts.of(counts[summary.batch.id])) for summary in found[:PAGE]]
    return page(
        "batches.html",
        shell=shell_of(session, access),
        rows=rows,
        jobs_of={row.batch.id: _jobs_of(row) for row, _ in rows},
        page_size=PAGE,
        offset=offset,
        next_offset=offset + PAGE if len(found) > PAGE else None,
    )


def _jobs_of(summary: BatchSummary) -> list[JobView]:
    now = utc_now()
    return [job_view(job, {summary.batch.id: summary.batch.name}, now) for job in summary.jobs]


@router.get("/new")
def show_upload(
    access: UploadImages,
    session: SessionDep,
    settings: SettingsDep,
    batch: uuid.UUID | None = None,
    kind: Literal["labelled", "unlabelled"] = "unlabelled",
) -> Response:
    """Add images: into a new batch, or the rest of one that was interrupted."""
    project = access.project
    existing = batches.get_batch(session, project.id, batch) if batch else None
    return page(
        "upload.html",
        shell=shell_of(session, access),
        batch=existing,
        labelled=existing.kind is BatchKind.LABELLED if existing else kind == "labelled",
        version=versions.find_active(session, project.id),
        settings=settings,
    )


@router.get("/{batch_id}")
def show_batch(
    batch_id: uuid.UUID,
    access: ReadImages,
    session: SessionDep,
    settings: SettingsDep,
    flag: Literal["known", "uncertain", "new"] | None = None,
    category: Annotated[uuid.UUID | None, BLANK_IS_NONE] = None,
    order: Order = Order.ENERGY,
    after: str | None = None,
    image: uuid.UUID | None = None,
) -> Response:
    """What the active version makes of a batch, the most telling images first."""
    project = access.project
    batch = batches.get_batch(session, project.id, batch_id)
    summary = batches.summary(session, batch)
    is_at_work = any(job.state is not JobState.FAILED for job in summary.jobs)
    results = batches.list_results(
        session,
        project,
        batch,
        Flag(flag) if flag else None,
        order,
        category_id=category,
        after=after,
        limit=TILES,
    )
    counts = FlagCounts.of(results.counts)
    first = results.results[0] if results.results else None
    chosen = next((result for result in results.results if result.scored.image.id == image), first)
    address = f"/projects/{project.id}/batches/{batch.id}"

    def link(**changes: object) -> str:
        query = {"flag": flag, "category": category, "order": order, **changes}
        return f"{address}?{urlencode({name: value for name, value in query.items() if value})}"

    return page(
        "batch.html",
        shell=shell_of(session, access),
        batch=batch,
        summary=summary,
        jobs=_jobs_of(summary),
        is_at_work=is_at_work,
        has_work_left=not is_at_work and batches.has_work_left(session, settings, project, batch),
        results=results,
        counts=counts,
        matching=getattr(counts, flag) if flag else counts.scored,
        chosen=chosen,
        reason=result_sentence(chosen.flag, chosen.nearest) if chosen else "",
        longest=longest_of(value for _, _, value in chosen.nearest) if chosen else 1.0,
        version=versions.find_active(session, project.id),
        flag=flag,
        category=category,
        categories=categories.list_names(session, project),
        order=order,
        orders=Order,
        after=after,
        link=link,
        picture=lambda image, size: picture_url(image.project_id, image.id, size),
    )


@router.post("/{batch_id}/cancel")
def cancel_work(batch_id: uuid.UUID, access: UploadImages, session: SessionDep) -> Response:
    """Call off what runs for a batch; what is recorded stays."""
    batches.cancel_work(session, batches.get_batch(session, access.project.id, batch_id))
    return see(f"/projects/{access.project.id}/batches/{batch_id}")


@router.post("/{batch_id}/resume")
def resume(batch_id: uuid.UUID, access: UploadImages, session: SessionDep, settings: SettingsDep) -> Response:
    """Go on with what has failed or was called off."""
    batches.resume(session, settings, batches.get_batch(session, access.project.id, batch_id))
    return see(f"/projects/{access.project.id}/batches/{batch_id}")


@router.get("/{batch_id}/report")
def show_report(
    batch_id: uuid.UUID,
    access: ReadImages,
    session: SessionDep,
    outcome: ItemOutcome | None = None,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:
    """What became of each file of a batch."""
    batch = batches.get_batch(session, access.project.id, batch_id)
    items, total = batches.list_items(session, batch, outcome, offset=offset, limit=REPORT_LINES)
    return page(
        "report.html",
        shell=shell_of(session, access),
        batch=batch,
        summary=batches.summary(session, batch),
        items=items,
        total=total,
        outcome=outcome,
        outcomes=ItemOutcome,
        page_size=REPORT_LINES,
        offset=offset,
        next_offset=offset + REPORT_LINES if offset + REPORT_LINES < total else None,
    )

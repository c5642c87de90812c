"""A project at a glance."""

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from annotation_ui.pages.shell import shell_of
from annotation_ui.render import page
from annotation_ui.views import FlagCounts, JobView, accuracy, held_out, job_view
from server.annotations import service as annotations
from server.batches import service as batches
from server.categories import service as categories
from server.categories.schemas import CategoryOut
from server.deps import ReadImages, SessionDep
from server.model_versions import service as versions
from server.tables import Job, JobKind, Project
from server.tables.base import utc_now
from server.work import service as work

router = APIRouter(prefix="/projects/{project_id}")
LATEST_BATCHES = 4
FOUND_SHOWN = 7


@router.get("")
def show_overview(access: ReadImages, session: SessionDep) -> Response:
    """What waits, what runs, what came in and what was found."""
    project = access.project
    found = categories.list_found_since(session, project, days=7, limit=500)
    version = versions.find_active(session, project.id)
    latest = batches.list_batches(session, project.id, limit=LATEST_BATCHES)
    counts = batches.count_flags(session, project, [summary.batch.id for summary in latest])
    return page(
        "overview.html",
        shell=shell_of(session, access),
        project=project,
        queue=annotations.summarise(session, project, access.user),
        jobs=running_jobs(session, project),
        batches=[(summary, FlagCounts.of(counts[summary.batch.id])) for summary in latest],
        found=[CategoryOut.of(summary) for summary in found[:FOUND_SHOWN]],
        found_count=len(found),
        version=version,
        accuracy=accuracy(version) if version else [],
        held_out=held_out(version) if version else 0,
    )


def running_jobs(session: Session, project: Project) -> list[JobView]:
    """Unfinished work of a project, oldest first."""
    return jobs_view(session, project, work.list_jobs(session, project.id, unfinished_only=True)[::-1])


def jobs_view(session: Session, project: Project, jobs: Sequence[Job]) -> list[JobView]:
    """Jobs with the names of what they are about."""
    now = utc_now()
    of_batches = {job.target_id for job in jobs if job.kind in (JobKind.INGEST, JobKind.SCORE)}
    names = batches.names_of(session, project.id, of_batches) if of_batches else {}
    for job in jobs:
        # One training runs at a time.
        if job.kind is JobKind.TRAIN:
            names[job.target_id] = f"v{versions.get_version(session, project.id, job.target_id).number}"
    return [job_view(job, names, now) for job in jobs]

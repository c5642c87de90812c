"""Model versions: train, follow, activate, roll back."""

import uuid

from fastapi import APIRouter
from starlette.responses import Response

from annotation_ui.forms import see
from annotation_ui.pages.overview import jobs_view
from annotation_ui.pages.shell import shell_of
from annotation_ui.render import page
from annotation_ui.views import ACCURACY_COLUMNS, accuracy, held_out
from server.deps import ReadImages, SessionDep, TrainVersions
from server.errors import NewfoundError
from server.model_versions import service as versions
from server.tables import JobKind, VersionStatus
from server.work import service as work

router = APIRouter(prefix="/projects/{project_id}/models")


@router.get("")
def show_versions(access: ReadImages, session: SessionDep) -> Response:
    """The line of versions, newest first, with what was measured of each."""
    return _versions(access, session)


def _versions(access: ReadImages, session: SessionDep, error: NewfoundError | None = None) -> Response:
    project = access.project
    rows = versions.list_versions(session, project.id)
    running = next(
        (row for row in rows if row.status in (VersionStatus.QUEUED, VersionStatus.TRAINING)), None
    )
    job = work.find_unfinished(session, JobKind.TRAIN, running.id) if running else None
    return page(
        "models.html",
        status_code=error.status_code if error else 200,
        shell=shell_of(session, access),
        versions=rows,
        active=next((row for row in rows if row.status is VersionStatus.ACTIVE), None),
        running=running,
        job=jobs_view(session, project, [job])[0] if job else None,
        accuracy=accuracy,
        held_out=held_out,
        columns=ACCURACY_COLUMNS,
        error=error.message if error else None,
    )


@router.post("/train")
def train(access: TrainVersions, session: SessionDep) -> Response:
    """Train a new version on the present labels, or say why that would be in vain."""
    try:
        versions.request_training(session, access.project, access.user.id)
    except NewfoundError as error:
        return _versions(access, session, error)
    return see(f"/projects/{access.project.id}/models")


@router.post("/{version_id}/activate")
def activate(version_id: uuid.UUID, access: TrainVersions, session: SessionDep) -> Response:
    """Let a version answer from now on; also the way back to a former one."""
    version = versions.get_version(session, access.project.id, version_id)
    versions.activate(session, version, access.user.id)
    return see(f"/projects/{access.project.id}/models")


@router.post("/{version_id}/cancel")
def cancel(version_id: uuid.UUID, access: TrainVersions, session: SessionDep) -> Response:
    """Call a training off."""
    version = versions.get_version(session, access.project.id, version_id)
    versions.cancel(session, version, access.user.id)
    return see(f"/projects/{access.project.id}/models")

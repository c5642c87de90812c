"""Train, list, activate, roll back and cancel model versions."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, status

from server.deps import ReadProject, SessionDep, TrainVersions
from server.model_versions import service
from server.model_versions.schemas import TrainingOut, VersionOut
from server.work.schemas import JobOut

router = APIRouter(prefix="/projects/{project_id}/versions", tags=["model versions"])


@router.get("")
def list_versions(
    access: ReadProject,
    session: SessionDep,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[VersionOut]:
    """Versions of the project, newest first."""
    versions = service.list_versions(session, access.project.id, offset=offset, limit=limit)
    return [VersionOut.model_validate(version) for version in versions]


@router.post("", status_code=status.HTTP_202_ACCEPTED)
def train(access: TrainVersions, session: SessionDep) -> TrainingOut:
    """Train a new version on the present labels.

    409 `nothing-new` if no label has changed since the last training, 409 `training-already` while one
    runs, 422 `too-few-categories` below two labelled categories.
    """
    version, job = service.request_training(session, access.project, access.user.id)
    return TrainingOut(version=VersionOut.model_validate(version), job=JobOut.model_validate(job))


@router.get("/{version_id}")
def get_version(version_id: uuid.UUID, access: ReadProject, session: SessionDep) -> VersionOut:
    """One version."""
    return VersionOut.model_validate(service.get_version(session, access.project.id, version_id))


@router.post("/{version_id}/activate")
def activate(version_id: uuid.UUID, access: TrainVersions, session: SessionDep) -> VersionOut:
    """Let this version answer from now on; the way back to a former one is the same call."""
    version = service.get_version(session, access.project.id, version_id)
    return VersionOut.model_validate(service.activate(session, version, access.user.id))


@router.post("/{version_id}/cancel")
def cancel(version_id: uuid.UUID, access: TrainVersions, session: SessionDep) -> VersionOut:
    """Call off a training that waits or runs."""
    version = service.get_version(session, access.project.id, version_id)
    return VersionOut.model_validate(service.cancel(session, version, access.user.id))

"""What works in the background of a project."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from server.deps import ReadProject, SessionDep
from server.work import service
from server.work.schemas import JobOut

router = APIRouter(tags=["jobs"])


@router.get("/projects/{project_id}/jobs")
def list_jobs(
    access: ReadProject,
    session: SessionDep,
    state: Literal["all", "unfinished"] = "all",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[JobOut]:
    """Jobs of the project, newest first."""
    jobs = service.list_jobs(session, access.project.id, unfinished_only=state == "unfinished", limit=limit)
    return [JobOut.model_validate(job) for job in jobs]

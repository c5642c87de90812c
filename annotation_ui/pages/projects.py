"""The person's projects, and a new one."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from annotation_ui.forms import parse, see
from annotation_ui.render import page
from annotation_ui.views import Shell
from server.deps import CurrentUser, SessionDep
from server.errors import NewfoundError
from server.permissions import ROLE_PERMISSIONS
from server.projects import service as projects
from server.projects.schemas import ProjectIn
from server.projects.strategies import Gate, Strategy

router = APIRouter()
Text = Annotated[str, Form(max_length=4000)]


@router.get("/projects")
def show_projects(user: CurrentUser, session: SessionDep) -> Response:
    """What waits for the person, by project."""
    return page(
        "projects.html",
        shell=Shell.of_person(user),
        projects=projects.list_for(session, user),
        permissions_of=ROLE_PERMISSIONS,
    )


@router.get("/projects/new")
def show_new_project(user: CurrentUser) -> Response:
    """The form for a new project."""
    return page(
        "new_project.html",
        shell=Shell.of_person(user),
        fields=ProjectIn(name=""),
        strategies=Strategy,
        gates=Gate,
        error=None,
    )


@router.post("/projects/new")
def create_project(
    user: CurrentUser,
    session: SessionDep,
    name: Text = "",
    description: Text = "",
    strategy: Text = Strategy.FRONTIER,
    gate: Text = Gate.FREE_ENERGY,
) -> Response:
    """Start a project; the next thing it needs is images."""
    try:
        fields = parse(ProjectIn, name=name, description=description, strategy=strategy, gate=gate)
        project = projects.create(session, user, **fields.model_dump(mode="json"))
    except NewfoundError as error:
        return page(
            "new_project.html",
            status_code=error.status_code,
            shell=Shell.of_person(user),
            fields={"name": name, "description": description, "strategy": strategy, "gate": gate},
            strategies=Strategy,
            gates=Gate,
            error=error.message,
        )
    return see(f"/projects/{project.id}")

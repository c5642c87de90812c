"""The annotate page. It claims its images over the API by itself."""

from fastapi import APIRouter
from starlette.responses import Response

from annotation_ui.pages.shell import shell_of
from annotation_ui.render import page
from server.deps import Annotate, SessionDep

router = APIRouter(prefix="/projects/{project_id}")


@router.get("/annotate")
def show_annotate(access: Annotate, session: SessionDep) -> Response:
    """One image after the other, with why it was asked and what it may be."""
    return page("annotate.html", shell=shell_of(session, access))

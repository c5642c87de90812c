"""What stands around every page of a project."""

from sqlalchemy.orm import Session

from annotation_ui.views import Shell
from server.deps import ProjectAccess
from server.projects import service as projects


def shell_of(session: Session, access: ProjectAccess) -> Shell:
    """Person, project and the counts beside its navigation."""
    waiting, categories = projects.count_for_navigation(session, access.project.id)
    return Shell(
        user_id=access.user.id,
        user_name=access.user.name,
        project_id=access.project.id,
        project_name=access.project.name,
        waiting=waiting,
        categories=categories,
        can=access.permissions,
    )

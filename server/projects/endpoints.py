"""Projects and their members."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, status

from server.deps import ChangeProject, CurrentUser, ReadProject, SessionDep
from server.permissions import Permission
from server.projects import service
from server.projects.schemas import (
    MemberIn,
    MemberOut,
    ProjectDetail,
    ProjectIn,
    ProjectLine,
    ProjectOut,
    ProjectPatch,
)
from server.tables import Project

router = APIRouter(prefix="/projects", tags=["projects"])


@router.get("")
def list_projects(
    user: CurrentUser,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[ProjectLine]:
    """The projects that one is a member of, newest first."""
    return [ProjectLine.of(line) for line in service.list_for(session, user, limit=limit, offset=offset)]


@router.post("", status_code=status.HTTP_201_CREATED)
def create_project(body: ProjectIn, user: CurrentUser, session: SessionDep) -> ProjectDetail:
    """Start a project. Its maker becomes its owner."""
    return _detail(service.create(session, user, **body.model_dump(mode="json")), frozenset(Permission))


@router.get("/{project_id}")
def get_project(access: ReadProject) -> ProjectDetail:
    """One project, with what one may do in it."""
    return _detail(access.project, access.permissions)


@router.patch("/{project_id}")
def change_project(body: ProjectPatch, access: ChangeProject, session: SessionDep) -> ProjectDetail:
    """Change a project's name or settings. Owners only."""
    project = service.update(session, access.user, access.project, body.changes())
    return _detail(project, access.permissions)


@router.get("/{project_id}/members")
def list_members(access: ReadProject, session: SessionDep) -> list[MemberOut]:
    """Who works in the project."""
    return [
        MemberOut(user_id=member.user_id, email=member.user.email, name=member.user.name, role=member.role)
        for member in service.list_members(session, access.project)
    ]


@router.put("/{project_id}/members")
def set_member(body: MemberIn, access: ChangeProject, session: SessionDep) -> MemberOut:
    """Take a person with an account into the project, or give a member another role."""
    person = service.set_member(session, access.user, access.project, body.email, body.role)
    return MemberOut(user_id=person.id, email=person.email, name=person.name, role=body.role)


@router.delete("/{project_id}/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_member(user_id: uuid.UUID, access: ChangeProject, session: SessionDep) -> None:
    """Take a person out of the project. Its last owner stays."""
    service.remove_member(session, access.user, access.project, user_id)


def _detail(project: Project, permissions: frozenset[Permission]) -> ProjectDetail:
    fields = ProjectOut.model_validate(project).model_dump()
    return ProjectDetail(**fields, permissions=sorted(permissions))

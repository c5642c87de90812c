"""Categories, their other names, and the naming check."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import status as http

from server.categories import service
from server.categories.queries import Order
from server.categories.schemas import (
    AliasIn,
    AliasOut,
    CategoryIn,
    CategoryOut,
    CategoryPageOut,
    CategoryPatch,
    NameCheckIn,
    NameCheckOut,
)
from server.deps import ChangeCategories, ProposeCategories, ReadProject, SessionDep
from server.tables import CategoryStatus

router = APIRouter(prefix="/projects/{project_id}/categories", tags=["categories"])


@router.get("")
def list_categories(
    access: ReadProject,
    session: SessionDep,
    q: Annotated[str, Query(max_length=200)] = "",
    status: CategoryStatus | None = None,
    order: Order = Order.COUNT,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> CategoryPageOut:
    """Categories with their figures. `q` is part of a name or of another name."""
    page = service.list_categories(
        session, access.project, search=q, status=status, order=order, limit=limit, offset=offset
    )
    return CategoryPageOut.of(page)


@router.post("", status_code=http.HTTP_201_CREATED, responses={409: {"description": "name-check"}})
def create_category(body: CategoryIn, access: ProposeCategories, session: SessionDep) -> CategoryOut:
    """Make a category. 409 `name-check` with the evidence where the name may mean one in use."""
    category = service.create(
        session, access.project, access.user, body.name, different_from=body.different_from
    )
    return CategoryOut.of(service.summarise(session, access.project, category))


@router.post("/check")
def check_name(body: NameCheckIn, access: ProposeCategories, session: SessionDep) -> NameCheckOut:
    """Judge a name by its text and by the picture that it was typed for. Nothing is stored."""
    check = service.check_name(
        session, access.project, body.name, body.image_id, different_from=body.different_from
    )
    return NameCheckOut.model_validate(check.as_json())


@router.get("/{category_id}")
def get_category(category_id: uuid.UUID, access: ReadProject, session: SessionDep) -> CategoryOut:
    """One category with its figures."""
    category = service.get(session, access.project.id, category_id)
    return CategoryOut.of(service.summarise(session, access.project, category))


@router.patch("/{category_id}")
def change_category(
    category_id: uuid.UUID, body: CategoryPatch, access: ChangeCategories, session: SessionDep
) -> CategoryOut:
    """Rename a category, confirm a proposed one, retire one or take it back. Labels follow."""
    category = service.get(session, access.project.id, category_id)
    if body.name is not None:
        service.rename(session, access.user, category, body.name)
    if body.status is not None:
        service.set_status(session, access.user, category, body.status)
    return CategoryOut.of(service.summarise(session, access.project, category))


@router.post("/{category_id}/aliases", status_code=http.HTTP_201_CREATED)
def add_alias(
    category_id: uuid.UUID, body: AliasIn, access: ChangeCategories, session: SessionDep
) -> AliasOut:
    """Let a category go by another name too."""
    category = service.get(session, access.project.id, category_id)
    return AliasOut.model_validate(service.add_alias(session, access.user, category, body.name))


@router.delete("/aliases/{alias_id}", status_code=http.HTTP_204_NO_CONTENT)
def remove_alias(alias_id: uuid.UUID, access: ChangeCategories, session: SessionDep) -> None:
    """Take another name away."""
    service.remove_alias(session, access.user, access.project.id, alias_id)

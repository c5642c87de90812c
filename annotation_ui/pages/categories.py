"""Categories: the long tail, the names, and one category at a time."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from annotation_ui.forms import BLANK_IS_NONE, see
from annotation_ui.pages.shell import shell_of
from annotation_ui.render import page
from annotation_ui.views import history_line, longest_of, tail
from server import audit
from server.addresses import picture_url
from server.categories import service as categories
from server.categories.check import NameQuestion
from server.categories.queries import Order
from server.categories.schemas import CategoryOut
from server.deps import ChangeCategories, ProjectAccess, ProposeCategories, ReadImages, SessionDep
from server.errors import NewfoundError
from server.tables import CategoryStatus, Project

router = APIRouter(prefix="/projects/{project_id}/categories")
Text = Annotated[str, Form(max_length=1000)]
ROWS = 50
TAIL_BARS = 500


@router.get("")
def show_categories(
    access: ReadImages,
    session: SessionDep,
    q: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[CategoryStatus | None, BLANK_IS_NONE] = None,
    order: Order = Order.NEWEST,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """The long tail, and a table to search."""
    return _categories(access, session, q=q, status=status, order=order, offset=offset)


def _categories(
    access: ProjectAccess,
    session: Session,
    *,
    q: str = "",
    status: CategoryStatus | None = None,
    order: Order = Order.NEWEST,
    offset: int = 0,
    typed: str = "",
    error: NewfoundError | None = None,
) -> Response:
    project = access.project
    found = categories.list_categories(
        session, project, search=q, status=status, order=order, limit=ROWS, offset=offset
    )
    fresh = found_this_week(session, project)
    largest = categories.list_categories(session, project, order=Order.COUNT, limit=TAIL_BARS)
    in_use = [summary for summary in largest.items if summary.category.status is not CategoryStatus.RETIRED]
    return page(
        "categories.html",
        status_code=error.status_code if error else 200,
        shell=shell_of(session, access),
        tail=tail((summary.count, summary.category.id in fresh) for summary in in_use),
        rows=[CategoryOut.of(summary) for summary in found.items],
        total=found.total,
        counts=categories.count_by_status(session, project),
        statuses=CategoryStatus,
        fresh=fresh,
        q=q,
        status=status,
        order=order,
        orders=Order,
        offset=offset,
        next_offset=offset + ROWS if offset + ROWS < found.total else None,
        page_size=ROWS,
        typed=typed,
        error=error.message if error else None,
        question=error.check.as_json() if isinstance(error, NameQuestion) else None,
    )


def found_this_week(session: Session, project: Project) -> set[uuid.UUID]:
    """Categories that people have named within the last seven days."""
    found = categories.list_found_since(session, project, days=7, limit=TAIL_BARS)
    return {summary.category.id for summary in found}


@router.post("")
def add_category(
    access: ProposeCategories,
    session: SessionDep,
    name: Text = "",
    different_from: Annotated[list[uuid.UUID] | None, Form()] = None,
) -> Response:
    """Make a category before it has an image, unless its name may mean one in use."""
    try:
        category = categories.create(
            session, access.project, access.user, name, different_from=frozenset(different_from or ())
        )
    except NewfoundError as error:
        return _categories(access, session, typed=name, error=error)
    return see(_address(access, category.id))


@router.get("/{category_id}")
def show_category(category_id: uuid.UUID, access: ReadImages, session: SessionDep) -> Response:
    """One category: figures, exemplars, names, neighbours, history."""
    return _category(access, session, category_id)


def _category(
    access: ProjectAccess,
    session: Session,
    category_id: uuid.UUID,
    error: NewfoundError | None = None,
    **typed: str,
) -> Response:
    project = access.project
    category = categories.get(session, project.id, category_id)
    around = categories.look_around(session, project, category)
    return page(
        "category.html",
        status_code=error.status_code if error else 200,
        shell=shell_of(session, access),
        category=CategoryOut.of(categories.summarise(session, project, category)),
        is_new=category.id in found_this_week(session, project),
        around=around,
        longest=longest_of((near.distance for near in around.neighbours), [around.usual_limit]),
        history=[
            history_line(row)
            for row in audit.list_entries(session, project.id, subject_id=category.id, limit=30)
        ],
        thumb=lambda image_id: picture_url(project.id, image_id, "thumb"),
        error=error.message if error else None,
        typed={"name": category.name, "alias": "", **typed},
        editing=next(iter(typed), None),
    )


@router.post("/{category_id}/rename")
def rename(
    category_id: uuid.UUID, access: ChangeCategories, session: SessionDep, name: Text = ""
) -> Response:
    """Give a category another name; its labels follow."""
    category = categories.get(session, access.project.id, category_id)
    try:
        categories.rename(session, access.user, category, name)
    except NewfoundError as error:
        return _category(access, session, category_id, error, name=name)
    return see(_address(access, category_id))


@router.post("/{category_id}/status")
def set_status(
    category_id: uuid.UUID,
    access: ChangeCategories,
    session: SessionDep,
    status: Annotated[CategoryStatus, Form()],
) -> Response:
    """Confirm a proposed category, retire one, or take it back."""
    category = categories.get(session, access.project.id, category_id)
    categories.set_status(session, access.user, category, status)
    return see(_address(access, category_id))


@router.post("/{category_id}/aliases")
def add_alias(
    category_id: uuid.UUID, access: ChangeCategories, session: SessionDep, name: Text = ""
) -> Response:
    """Let a category go by another name too."""
    category = categories.get(session, access.project.id, category_id)
    try:
        categories.add_alias(session, access.user, category, name)
    except NewfoundError as error:
        return _category(access, session, category_id, error, alias=name)
    return see(_address(access, category_id))


@router.post("/{category_id}/aliases/{alias_id}/remove")
def remove_alias(
    category_id: uuid.UUID, alias_id: uuid.UUID, access: ChangeCategories, session: SessionDep
) -> Response:
    """Take another name away."""
    categories.remove_alias(session, access.user, access.project.id, alias_id)
    return see(_address(access, category_id))


def _address(access: ProjectAccess, category_id: uuid.UUID) -> str:
    return f"/projects/{access.project.id}/categories/{category_id}"

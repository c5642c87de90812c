"""New names: the check before one is made, and the making."""

import uuid
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from server.categories import queries
from server.categories.changes import record
from server.categories.check import Candidate, NameCheck, NameQuestion, Nearest
from server.categories.finding import get
from server.categories.naming import Likeness, Marks, TextMatch, clean, compare, differing, find_alike, key_of
from server.categories.queries import NameInUse
from server.categories.verdicts import PictureMatch, Verdict, decide
from server.permissions import Permission
from server.projects.service import permissions_in
from server.tables import Category, CategoryStatus, Project, User
from server.tables.base import utc_now

EXEMPLARS = 3
NO_MARKS = Marks((), ())
NO_CATEGORIES: frozenset[uuid.UUID] = frozenset()


def find_or_create(
    session: Session,
    project_id: uuid.UUID,
    name: str,
    created_by: uuid.UUID | None,
    *,
    status: CategoryStatus = CategoryStatus.ACTIVE,
) -> Category:
    """The category that goes by ``name``, made if there is none. For imports, where nobody can be asked.

    Safe when several ask at once. Callers that ask for several names do so in sorted order.

    Raises:
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    while True:
        category = queries.find_by_key(session, project_id, key_of(shown))
        if category is not None:
            return category
        _insert(session, project_id, shown, created_by, status)


def check_name(
    session: Session,
    project: Project,
    name: str,
    image_id: uuid.UUID | None = None,
    *,
    different_from: Collection[uuid.UUID] = NO_CATEGORIES,
) -> NameCheck:
    """What ``name`` would be, by its text and by the picture that it was typed for.

    ``different_from`` are categories of which the person has said: this is another thing. They are asked
    about again only where the name is the very same, since two categories cannot share one.

    Raises:
        InvalidInput: the text cannot be a name.
    """
    typed = clean(name)
    names = queries.names_in_use(session, project.id)
    matched, texts = _best_texts(typed, names, different_from)
    pictures = _pictures(session, project, image_id)
    to_compare = {category: match for category, match in pictures.items() if category not in different_from}
    decision = decide(texts, {**to_compare, **{c: pictures[c] for c in texts if c in pictures}})
    known = queries.exemplars(session, decision.categories, project.active_version_id, EXEMPLARS)
    candidates = tuple(
        _candidate(typed, category, known[category], matched.get(category), pictures.get(category))
        for category in decision.categories
    )
    return NameCheck(
        project_id=project.id,
        typed=typed,
        verdict=decision.verdict,
        is_exact=any(candidate.text.likeness is Likeness.EXACT for candidate in candidates),
        candidates=candidates,
        next_nearest=_next_nearest(pictures, decision.categories, names),
    )


def create(
    session: Session,
    project: Project,
    user: User,
    name: str,
    *,
    image_id: uuid.UUID | None = None,
    different_from: Collection[uuid.UUID] = NO_CATEGORIES,
) -> Category:
    """Make a category if its name is new. An annotator's is PROPOSED until a reviewer confirms it.

    It is recognised from its first label on all the same.

    Raises:
        NameQuestion: the name may mean a category in use.
        InvalidInput: the text cannot be a name.
    """
    queries.lock_names(session, project.id)
    check = check_name(session, project, name, image_id, different_from=different_from)
    if check.verdict is not Verdict.NEW:
        raise NameQuestion(check)
    category_id = _insert(session, project.id, check.typed, user.id, first_status(session, project, user))
    if category_id is None:
        # An import made it a moment ago.
        raise NameQuestion(check_name(session, project, name, image_id))
    category = get(session, project.id, category_id)
    record(
        session, "category.created", user, category, name=category.name, image_id=image_id and str(image_id)
    )
    return category


def first_status(session: Session, project: Project, user: User) -> CategoryStatus:
    """In which state a category of this person begins: confirmed if they may confirm it."""
    may_confirm = Permission.CATEGORY_CHANGE in permissions_in(session, user, project.id)
    return CategoryStatus.ACTIVE if may_confirm else CategoryStatus.PROPOSED


def resolve(
    session: Session,
    project: Project,
    user: User,
    name: str,
    *,
    image_id: uuid.UUID | None = None,
    different_from: Collection[uuid.UUID] = NO_CATEGORIES,
) -> tuple[Category, bool]:
    """The category meant by a name typed for an image, and whether it was made now.

    A name in use is taken as that category without asking, unless the picture lies far from its images.

    Raises:
        NameQuestion: somebody has to say what is meant.
        InvalidInput: the text cannot be a name.
    """
    try:
        category = create(session, project, user, name, image_id=image_id, different_from=different_from)
    except NameQuestion as question:
        if question.check.verdict is not Verdict.SAME or not question.check.is_exact:
            raise
        return get(session, project.id, question.check.candidates[0].category_id), False
    return category, True


def _best_texts(
    typed: str, names: Sequence[NameInUse], different_from: Collection[uuid.UUID]
) -> tuple[dict[uuid.UUID, NameInUse], dict[uuid.UUID, TextMatch]]:
    """For each category with a name that is alike: the name most like it, and how like."""
    alike = find_alike(typed, [name.name for name in names])
    matched: dict[uuid.UUID, NameInUse] = {}
    texts: dict[uuid.UUID, TextMatch] = {}
    likeness = list(Likeness)
    for index, text in sorted(
        alike.items(), key=lambda item: (likeness.index(item[1].likeness), item[1].distance, item[0])
    ):
        category = names[index].category_id
        if category in different_from and text.likeness is not Likeness.EXACT:
            continue
        matched.setdefault(category, names[index])
        texts.setdefault(category, text)
    return matched, texts


def _pictures(
    session: Session, project: Project, image_id: uuid.UUID | None
) -> dict[uuid.UUID, PictureMatch]:
    if image_id is None or project.active_version_id is None:
        return {}
    distances = queries.picture_distances(session, project.active_version_id, image_id)
    return {category: PictureMatch(*figures) for category, figures in distances.items()}


def _candidate(
    typed: str,
    category_id: uuid.UUID,
    known: queries.Exemplars,
    matched: NameInUse | None,
    picture: PictureMatch | None,
) -> Candidate:
    name = matched.name if matched else known.name
    return Candidate(
        category_id=category_id,
        name=known.name,
        alias_matched=name if matched and matched.is_alias else None,
        count=known.count,
        exemplar_ids=known.image_ids,
        text=compare(typed, name),
        # Marks on two words that have nothing to do with each other would only distract.
        marks=differing(typed, name) if matched else NO_MARKS,
        picture=picture,
    )


def _next_nearest(
    pictures: Mapping[uuid.UUID, PictureMatch], shown: Collection[uuid.UUID], names: Sequence[NameInUse]
) -> Nearest | None:
    others = [category for category in pictures if category not in shown]
    if not others:
        return None
    nearest = min(others, key=lambda category: pictures[category].distance)
    name = next(name.name for name in names if name.category_id == nearest and not name.is_alias)
    return Nearest(name, pictures[nearest].distance)


def _insert(
    session: Session, project_id: uuid.UUID, shown: str, created_by: uuid.UUID | None, status: CategoryStatus
) -> uuid.UUID | None:
    return queries.insert_unless_taken(
        session,
        {
            "id": uuid.uuid4(),
            "project_id": project_id,
            "name": shown,
            "name_key": key_of(shown),
            "status": status,
            "created_by": created_by,
            "created_at": utc_now(),
        },
    )

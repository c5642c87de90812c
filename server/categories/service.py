"""Categories, their names and other names, and the check before a new name is made."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from server import audit, jobs
from server.categories import queries
from server.categories.check import Candidate, NameCheck, NameQuestion, Nearest
from server.categories.naming import Likeness, Marks, TextMatch, clean, compare, differing, find_alike, key_of
from server.categories.queries import NameInUse, Order
from server.categories.verdicts import PictureMatch, Verdict, decide
from server.errors import Conflict, InvalidInput, NotFound
from server.permissions import Permission
from server.projects.service import permissions_in
from server.tables import Alias, AliasKind, Category, CategoryStatus, ClassMemoryRow, Project, User
from server.tables.base import utc_now

EXEMPLARS = 3
NEIGHBOURS = 5
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


def get(session: Session, project_id: uuid.UUID, category_id: uuid.UUID) -> Category:
    """A category of the project.

    Raises:
        NotFound: the project has no such category.
    """
    category = queries.find(session, project_id, category_id)
    if category is None:
        raise NotFound("There is no such category in this project.")
    return category


def find_by_name(session: Session, project_id: uuid.UUID, name: str) -> Category | None:
    """The category in use that goes by this name or other name, whatever its case and spaces."""
    return queries.find_by_key(session, project_id, key_of(name))


# --- new names -----------------------------------------------------------------------------------------


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
    _record(
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


# --- changes -------------------------------------------------------------------------------------------


def rename(session: Session, user: User, category: Category, name: str) -> Category:
    """Give a category another name. Its labels follow; the old name stays as an alias.

    Raises:
        Conflict: another category in use goes by that name.
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    queries.lock_names(session, category.project_id)
    _refuse_taken(session, category, shown)
    before, former_key = category.name, category.name_key
    if shown == before:
        return category
    category.name, category.name_key = shown, key_of(shown)
    if category.name_key != former_key:
        own = queries.find_alias_by_key(session, category.project_id, category.name_key)
        if own is not None:
            session.delete(own)
        session.flush()
        _insert_alias(session, user, category, before, AliasKind.ALIAS)
    session.flush()
    _record(session, "category.renamed", user, category, before=before, after=shown)
    return category


def add_alias(
    session: Session, user: User, category: Category, name: str, kind: AliasKind = AliasKind.ALIAS
) -> Alias:
    """Let a category go by another name too.

    Raises:
        Conflict: a category in use goes by that name already.
        InvalidInput: the text cannot be a name.
    """
    shown = clean(name)
    queries.lock_names(session, category.project_id)
    _refuse_taken(session, category, shown)
    if queries.find_by_key(session, category.project_id, key_of(shown)) is not None:
        raise Conflict(f"{category.name} goes by “{shown}” already.", code="name-taken")
    alias = _insert_alias(session, user, category, shown, kind)
    _record(session, "category.alias_added", user, category, name=shown, kind=kind)
    return alias


def remember_misspelling(
    session: Session, project: Project, user: User, category: Category, name: str
) -> None:
    """Keep a slip of the keyboard, so that it is not asked about again; no name in use is touched.

    Raises:
        InvalidInput: the text cannot be a name.
    """
    if find_by_name(session, project.id, name) is None:
        add_alias(session, user, category, name, AliasKind.MISSPELLING)


def remove_alias(session: Session, user: User, project_id: uuid.UUID, alias_id: uuid.UUID) -> None:
    """Take another name away.

    Raises:
        NotFound: the project has no such alias.
    """
    alias = queries.find_alias(session, project_id, alias_id)
    if alias is None:
        raise NotFound("There is no such alias in this project.")
    category = get(session, project_id, alias.category_id)
    session.delete(alias)
    session.flush()
    _record(session, "category.alias_removed", user, category, name=alias.name)


def set_status(session: Session, user: User, category: Category, status: CategoryStatus) -> Category:
    """Confirm a proposed category, retire one (predictions no longer answer it), or take it back.

    Raises:
        InvalidInput: a category cannot go back to being proposed.
        Conflict: its name has been taken by another since it was retired.
    """
    if status is category.status:
        return category
    if status is CategoryStatus.PROPOSED:
        raise InvalidInput("A category cannot be made a proposal again. Retire it instead.")
    queries.lock_names(session, category.project_id)
    if category.status is CategoryStatus.RETIRED:
        _refuse_taken(session, category, category.name)
    before, category.status = category.status, status
    session.flush()
    _record(session, f"category.{_ACTS[status]}", user, category, before=before)
    if CategoryStatus.RETIRED in (before, status):
        jobs.enqueue(session, jobs.UPDATE_MEMORY, str(category.project_id), str(category.id))
    return category


_ACTS = {CategoryStatus.ACTIVE: "confirmed", CategoryStatus.RETIRED: "retired"}


def _refuse_taken(session: Session, category: Category, shown: str) -> None:
    other = queries.find_by_key(session, category.project_id, key_of(shown))
    if other is not None and other.id != category.id:
        raise Conflict(
            f"“{shown}” is in use for {other.name}. Choose another name.",
            code="name-taken",
            category_id=other.id,
            name=other.name,
        )


def _insert_alias(session: Session, user: User, category: Category, shown: str, kind: AliasKind) -> Alias:
    # A retired category keeps its aliases until somebody else needs the name.
    stale = queries.find_alias_by_key(session, category.project_id, key_of(shown))
    if stale is not None:
        session.delete(stale)
        session.flush()
    alias = Alias(
        project_id=category.project_id,
        category_id=category.id,
        name=shown,
        name_key=key_of(shown),
        kind=kind,
        created_by=user.id,
    )
    session.add(alias)
    session.flush()
    return alias


def _record(session: Session, action: str, user: User, category: Category, **details: object) -> None:
    audit.record(
        session,
        action,
        user_id=user.id,
        project_id=category.project_id,
        subject_id=category.id,
        **details,
    )


# --- lists ---------------------------------------------------------------------------------------------


class Bin(StrEnum):
    """Frequency bins of the long tail, by labelled images: at least 100, in between, up to 20, as the
    accuracy of versions is divided (Liu et al. 2019, Table 4)."""

    MANY = "many"
    MEDIUM = "medium"
    FEW = "few"


def bin_of(count: int) -> Bin:
    """The bin of a category with ``count`` labelled images."""
    if count >= 100:
        return Bin.MANY
    return Bin.MEDIUM if count > 20 else Bin.FEW


@dataclass(frozen=True)
class CategorySummary:
    """A category with its figures."""

    category: Category
    count: int
    aliases: tuple[Alias, ...]
    waiting: int
    first_label_at: datetime | None
    exemplar_id: uuid.UUID | None

    @property
    def bin(self) -> Bin:
        """Its place in the long tail."""
        return bin_of(self.count)

    @property
    def live_seconds(self) -> float | None:
        """Seconds from its first label until a prediction could name it; None as long as none can."""
        live_at = self.category.live_at
        if live_at is None or self.first_label_at is None:
            return None
        return max(0.0, (live_at - self.first_label_at).total_seconds())


@dataclass(frozen=True)
class CategoryPage:
    """Some categories, and how many there are in all."""

    items: list[CategorySummary]
    total: int


def list_categories(
    session: Session,
    project: Project,
    *,
    search: str = "",
    status: CategoryStatus | None = None,
    order: Order = Order.COUNT,
    limit: int = 100,
    offset: int = 0,
) -> CategoryPage:
    """Categories with their figures. ``search`` is part of a name or of another name."""
    search_key = key_of(search)
    found = queries.list_with_counts(
        session,
        project.id,
        search_key=search_key,
        status=status,
        order=order,
        limit=limit,
        offset=offset,
    )
    total = queries.count_matching(session, project.id, search_key=search_key, status=status)
    return CategoryPage(_summaries(session, project, found), total)


def summarise(session: Session, project: Project, category: Category) -> CategorySummary:
    """One category with its figures."""
    count = queries.exemplars(session, [category.id], None, 1)[category.id].count
    return _summaries(session, project, [(category, count)])[0]


def list_found_since(
    session: Session, project: Project, *, days: int, limit: int = 20
) -> list[CategorySummary]:
    """Categories that people have named on an image in the last ``days`` days, newest first."""
    since = utc_now() - timedelta(days=days)
    return _summaries(session, project, queries.list_found_since(session, project.id, since, limit))


@dataclass(frozen=True)
class Surroundings:
    """Where a category lies: its images from the most typical on, its usual limit, its neighbours."""

    images: list[tuple[uuid.UUID, float | None]]
    usual_limit: float | None
    neighbours: list[queries.Neighbour]


def look_around(session: Session, project: Project, category: Category, *, images: int = 12) -> Surroundings:
    """The category in the space of the active version; only its images where that has no place for it."""
    version = project.active_version_id
    memory = session.get(ClassMemoryRow, (version, category.id)) if version else None
    return Surroundings(
        images=queries.typical_images(session, category.id, version, images),
        usual_limit=memory.usual_limit if memory else None,
        neighbours=queries.nearest_categories(session, category.id, version, NEIGHBOURS) if version else [],
    )


def list_names(session: Session, project: Project) -> list[tuple[uuid.UUID, str]]:
    """Id and name of every category in use, by name."""
    names = queries.names_in_use(session, project.id)
    own = [(name.category_id, name.name) for name in names if not name.is_alias]
    return sorted(own, key=lambda pair: pair[1].casefold())


def count_by_status(session: Session, project: Project) -> dict[CategoryStatus, int]:
    """How many categories are in each state; states without any are absent."""
    return queries.count_by_status(session, project.id)


def _summaries(
    session: Session, project: Project, found: Sequence[tuple[Category, int]]
) -> list[CategorySummary]:
    ids = [category.id for category, _ in found]
    version = project.active_version_id
    aliases, first = queries.aliases_of(session, ids), queries.first_labels(session, ids)
    waiting = queries.waiting_of(session, project.id, version, ids) if version else {}
    exemplars = queries.exemplars(session, ids, version, 1)
    return [
        CategorySummary(
            category=category,
            count=count,
            aliases=tuple(aliases.get(category.id, ())),
            waiting=waiting.get(category.id, 0),
            first_label_at=first.get(category.id),
            exemplar_id=next(iter(exemplars[category.id].image_ids), None),
        )
        for category, count in found
    ]

"""What has to be scored, what has been said of it, and the places in the queue."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from server.exploration import bulk
from server.exploration.bulk import BOOLEAN, DOUBLE, INTEGER, REAL, UUID, Layout, halfvec
from server.exploration.priorities import KINDS, ROUND_FLOOR, UNSCORED, ReasonKind, kinds, priorities
from server.exploration.scores import Doubles, Flags, Ids, Integers, Scores
from server.model_versions.queries import find_active
from server.tables import (
    AnnotationTask,
    Feature,
    Image,
    Job,
    JobKind,
    ModelVersion,
    Prediction,
    TaskState,
    VersionStatus,
)

NONE = "'00000000-0000-0000-0000-000000000000'::uuid"
FIGURES = ("unknown_score", "openness", "informativeness", "free_energy")


def lock_active(session: Session, project_id: uuid.UUID, *, to_change: bool = False) -> ModelVersion | None:
    """The active version. It stays active, and its memory as it is, until the transaction ends.

    Any number of transactions may hold it so; one that wants it ``to_change`` waits for them.
    """
    while version := find_active(session, project_id):
        # FOR SHARE and FOR NO KEY UPDATE exclude each other; rows that refer to the version wait for neither.
        statement = (
            select(ModelVersion)
            .where(ModelVersion.id == version.id)
            .with_for_update(read=not to_change, key_share=to_change)
            .execution_options(populate_existing=True)
        )
        if session.scalars(statement).one().status is VersionStatus.ACTIVE:
            return version
    return None


def list_without_features(
    session: Session, batch_id: uuid.UUID, runtime_key: str, after: uuid.UUID, limit: int
) -> Sequence[tuple[uuid.UUID, str]]:
    """(id, sha256) of images of a batch, in order of id after ``after``, whose features are not there."""
    known = select(Feature.image_id).where(Feature.image_id == Image.id, Feature.runtime_key == runtime_key)
    return _images(session, batch_id, known.exists(), after, limit)


def list_without_prediction(
    session: Session, batch_id: uuid.UUID, version_id: uuid.UUID, after: uuid.UUID, limit: int
) -> Sequence[tuple[uuid.UUID, str]]:
    """(id, sha256) of images of a batch, in order of id after ``after``, that the version has not scored."""
    known = select(Prediction.image_id).where(
        Prediction.image_id == Image.id, Prediction.model_version_id == version_id
    )
    return _images(session, batch_id, known.exists(), after, limit)


def _images(
    session: Session, batch_id: uuid.UUID, known: Any, after: uuid.UUID, limit: int
) -> Sequence[tuple[uuid.UUID, str]]:
    statement = (
        select(Image.id, Image.sha256)
        .where(Image.batch_id == batch_id, Image.id > after, ~known)
        .order_by(Image.id)
        .limit(limit)
    )
    return [(image_id, sha256) for image_id, sha256 in session.execute(statement)]


def count_images(session: Session, batch_id: uuid.UUID) -> int:
    """Images that a batch brought."""
    return session.scalar(select(func.count()).select_from(Image).where(Image.batch_id == batch_id)) or 0


def count_features(session: Session, batch_id: uuid.UUID, runtime_key: str) -> int:
    """Images of a batch whose features are there."""
    statement = select(func.count()).select_from(Feature).join(Image, Image.id == Feature.image_id)
    return (
        session.scalar(statement.where(Image.batch_id == batch_id, Feature.runtime_key == runtime_key)) or 0
    )


def count_predicted(session: Session, batch_id: uuid.UUID, version_id: uuid.UUID) -> int:
    """Images of a batch that a version has scored."""
    statement = select(func.count()).select_from(Prediction)
    return (
        session.scalar(
            statement.where(Prediction.model_version_id == version_id, Prediction.batch_id == batch_id)
        )
        or 0
    )


def list_batches_to_score(session: Session, version: ModelVersion) -> list[uuid.UUID]:
    """Batches with images that the version has not scored and that nobody has asked to score since it is
    active: what could not be read then is not tried again and again."""
    known = select(Prediction.image_id).where(
        Prediction.image_id == Image.id, Prediction.model_version_id == version.id
    )
    asked = select(Job.id).where(
        Job.kind == JobKind.SCORE, Job.target_id == Image.batch_id, Job.created_at >= version.activated_at
    )
    statement = select(Image.batch_id).where(
        Image.project_id == version.project_id, ~known.exists(), ~asked.exists()
    )
    return list(session.scalars(statement.distinct()))


def list_labelled_categories(session: Session, image_ids: Ids) -> list[uuid.UUID]:
    """The categories that some of these images are labelled with."""
    ids = [uuid.UUID(bytes=one.tobytes()) for one in image_ids]
    statement = select(Image.category_id).where(Image.id.in_(ids), Image.category_id.is_not(None)).distinct()
    return [category for category in session.scalars(statement) if category is not None]


_WRITE_PREDICTIONS = """
    INSERT INTO predictions (model_version_id, image_id, batch_id, memory_revision, category_id, confidence,
        is_known, unknown_score, openness, informativeness, free_energy, top, nearest)
    SELECT :version, s.image_id, i.batch_id, :revision, NULLIF(s.category_id, {none}), s.confidence,
        s.is_known, s.unknown_score, s.openness, s.informativeness, s.free_energy, {top}, {nearest}
    FROM staged_predictions s JOIN images i ON i.id = s.image_id
    ON CONFLICT (model_version_id, image_id) DO UPDATE SET
        (memory_revision, category_id, confidence, is_known, unknown_score, openness, informativeness,
         free_energy, top, nearest)
      = (excluded.memory_revision, excluded.category_id, excluded.confidence, excluded.is_known,
         excluded.unknown_score, excluded.openness, excluded.informativeness, excluded.free_energy,
         excluded.top, excluded.nearest)
"""


def write_predictions(session: Session, version_id: uuid.UUID, revision: int, scores: Scores) -> None:
    """Add or bring up to date what a version says of images; images that are gone are left out."""
    k = scores.top_ids.shape[1]
    layout = Layout(
        {"image_id": UUID, "category_id": UUID, "confidence": REAL, "is_known": BOOLEAN}
        | dict.fromkeys(FIGURES, REAL)
        | {f"top_{i}": UUID for i in range(k)}
        | {f"probability_{i}": REAL for i in range(k)}
        | {f"nearest_{i}": UUID for i in range(k)}
        | {f"distance_{i}": REAL for i in range(k)}
    )
    rows = layout.empty(len(scores))
    rows["image_id"], rows["is_known"] = scores.image_ids, scores.is_known
    for name in FIGURES:
        rows[name] = getattr(scores, name)
    for i in range(k):
        rows[f"top_{i}"], rows[f"probability_{i}"] = scores.top_ids[:, i], scores.probabilities[:, i]
        rows[f"nearest_{i}"], rows[f"distance_{i}"] = scores.nearest_ids[:, i], scores.distances[:, i]
    if k:
        rows["category_id"], rows["confidence"] = scores.top_ids[:, 0], scores.probabilities[:, 0]
    statement = _WRITE_PREDICTIONS.format(
        none=NONE, top=_pairs("top", "probability", k), nearest=_pairs("nearest", "distance", k)
    )
    with bulk.staged(session, "staged_predictions", layout, rows):
        session.execute(text(statement), {"version": version_id, "revision": revision})


def _pairs(names: str, values: str, k: int) -> str:
    pairs = ", ".join(f"jsonb_build_array(s.{names}_{i}, s.{values}_{i})" for i in range(k))
    return f"jsonb_build_array({pairs})"


_QUEUE = """
    INSERT INTO annotation_tasks
        (id, project_id, image_id, state, priority, is_control, reason, created_at)
    SELECT gen_random_uuid(), i.project_id, i.id, 'OPEN', :priority, false,
           jsonb_build_object('kind', CAST(:kind AS text)), now()
    FROM images i
    WHERE {which} AND (i.verdict IS NULL OR i.verdict = 'CONFLICT')
      AND NOT EXISTS (SELECT FROM annotation_tasks t WHERE t.image_id = i.id)
    ON CONFLICT (image_id) DO NOTHING
"""


def queue_unscored(session: Session, batch_id: uuid.UUID) -> None:
    """Put all images of a batch that nobody has settled and that have no place into the queue, at its end:
    those without a label, and those on which imported labels disagree."""
    _queue(session, "i.batch_id = :batch", batch=batch_id)


def queue_disputed(session: Session, image_ids: Sequence[uuid.UUID]) -> None:
    """Put images on which imported labels disagree into the queue, at its end, whoever brought them."""
    _queue(session, "i.id = ANY(:images)", images=list(image_ids))


def _queue(session: Session, which: str, **values: Any) -> None:
    parameters = {"priority": UNSCORED, "kind": ReasonKind.UNSCORED, **values}
    session.execute(text(_QUEUE.format(which=which)), parameters)


def count_served(session: Session, project_id: uuid.UUID) -> int:
    """Tasks that somebody holds or has answered."""
    statement = select(func.count()).select_from(AnnotationTask)
    return (
        session.scalar(
            statement.where(AnnotationTask.project_id == project_id, AnnotationTask.state != TaskState.OPEN)
        )
        or 0
    )


@dataclass(frozen=True)
class Places:
    """Where N images stand in the queue.

    ``priority`` f64[N], ``is_control`` bool[N], ``kind`` int[N] place in ``KINDS``, ``rank`` int[N] place
    in the round from 1 on (0: outside of it), ``group_size`` int[N] images of the look-alike group that
    an image stands for (0: chosen by itself).
    """

    priority: Doubles
    is_control: Flags
    kind: Integers
    rank: Integers
    group_size: Integers

    @classmethod
    def outside_the_round(cls, scores: Scores) -> "Places":
        """Places by free energy alone."""
        none = np.zeros(len(scores), np.int64)
        no_round, no_control = none[:0], np.zeros(len(scores), np.bool_)
        return cls(
            priorities(scores.free_energy, no_round), no_control, kinds(scores, no_control), none, none
        )

    def __getitem__(self, rows: Any) -> "Places":
        """The same of some rows: a slice, a mask or indices."""
        return Places(**{name: values[rows] for name, values in vars(self).items()})


_WRITE_PLACES = f"""
    UPDATE annotation_tasks t SET priority = s.priority, is_control = s.is_control,
        reason = jsonb_build_object(
            'kind', (CAST(:kinds AS text[]))[s.kind + 1], 'nearest_id', NULLIF(s.nearest_id, {NONE}),
            'distance', s.distance, 'usual_limit', s.usual_limit,
            'categories', CAST(:categories AS integer), 'unknown_score', s.unknown_score,
            'openness', s.openness, 'informativeness', s.informativeness, 'free_energy', s.free_energy,
            'strategy', CAST(:strategy AS text), 'gate', CAST(:gate AS text),
            'rank', NULLIF(s.rank, 0), 'group_size', NULLIF(s.group_size, 0))
    FROM staged_places s, (
        SELECT t.id FROM annotation_tasks t JOIN staged_places s ON s.image_id = t.image_id
        WHERE t.state = 'OPEN' FOR UPDATE OF t SKIP LOCKED) waiting
    WHERE t.id = waiting.id AND s.image_id = t.image_id
"""


def write_places(
    session: Session, scores: Scores, places: Places, *, categories: int, strategy: str, gate: str
) -> None:
    """Give the waiting tasks of these images their place in the queue, with the figures behind it.

    Images that somebody holds, answers or has answered in the meantime are left alone, without waiting.
    """
    layout = Layout(
        {"image_id": UUID, "nearest_id": UUID, "priority": DOUBLE, "is_control": BOOLEAN}
        | {"kind": INTEGER, "rank": INTEGER, "group_size": INTEGER, "distance": REAL, "usual_limit": REAL}
        | dict.fromkeys(FIGURES, REAL)
    )
    rows = layout.empty(len(scores))
    rows["image_id"], rows["usual_limit"] = scores.image_ids, scores.usual_limits
    if scores.nearest_ids.shape[1]:
        rows["nearest_id"], rows["distance"] = scores.nearest_ids[:, 0], scores.distances[:, 0]
    for name in FIGURES:
        rows[name] = getattr(scores, name)
    for name in ("priority", "is_control", "kind", "rank", "group_size"):
        rows[name] = getattr(places, name)
    parameters = {
        "kinds": [kind.value for kind in KINDS],
        "categories": categories,
        "strategy": strategy,
        "gate": gate,
    }
    with bulk.staged(session, "staged_places", layout, rows):
        session.execute(text(_WRITE_PLACES), parameters)


# --- arranging anew ------------------------------------------------------------------------------------


def standing(dim: int) -> Layout:
    """Rows of ``read_standings``."""
    return Layout(
        {"image_id": UUID, "vector": halfvec(dim), "category_id": UUID, "nearest_id": UUID}
        | {"confidence": DOUBLE}
        | dict.fromkeys(FIGURES, DOUBLE)
        | {"is_open": BOOLEAN, "priority": DOUBLE, "is_control": BOOLEAN}
    )


def read_standings(
    session: Session, version_id: uuid.UUID, dim: int, after: uuid.UUID, limit: int
) -> bulk.Rows:
    """v of up to ``limit`` images in order of id after ``after``, with their stored figures and, where they
    wait in the queue (``is_open``), their place."""
    query = f"""
        SELECT e.image_id, e.vector, COALESCE(p.category_id, {NONE}),
            COALESCE((p.nearest -> 0 ->> 0)::uuid, {NONE}), p.confidence, p.unknown_score, p.openness,
            p.informativeness, p.free_energy, t.id IS NOT NULL, COALESCE(t.priority, 0),
            COALESCE(t.is_control, false)
        FROM embeddings e
        JOIN predictions p ON p.model_version_id = e.model_version_id AND p.image_id = e.image_id
        LEFT JOIN annotation_tasks t ON t.image_id = e.image_id AND t.state = 'OPEN'
        WHERE e.model_version_id = %(version)s AND e.image_id > %(after)s
        ORDER BY e.image_id LIMIT %(limit)s
    """
    return bulk.read(session, standing(dim), query, {"version": version_id, "after": after, "limit": limit})


def mark_scored(session: Session, version_id: uuid.UUID, revision: int, *, before: int) -> None:
    """All predictions of the version have reached this revision of its memory.

    Unless ``scored_revision`` is no longer what it was ``before``: then something else was to be brought
    up to date meanwhile, and is not.
    """
    session.execute(
        update(ModelVersion)
        .where(ModelVersion.id == version_id, ModelVersion.scored_revision == before)
        .values(scored_revision=revision)
    )


def list_to_rescore(session: Session) -> list[uuid.UUID]:
    """Projects whose predictions lag behind the memory, or whose round of chosen images is used up."""
    head = (
        select(func.max(AnnotationTask.priority))
        .where(AnnotationTask.project_id == ModelVersion.project_id, AnnotationTask.state == TaskState.OPEN)
        .scalar_subquery()
    )
    statement = select(ModelVersion.project_id).where(
        ModelVersion.status == VersionStatus.ACTIVE,
        (ModelVersion.scored_revision < ModelVersion.memory_revision)
        | ((head > UNSCORED) & (head < ROUND_FLOOR)),
    )
    return list(session.scalars(statement))

"""The pool brought up to date with the class memory, and the queue arranged anew.

All scores are computed afresh from the stored embeddings, which makes any order of labels and withdrawals
come out the same, and only rows that changed are written: the head of the queue first, in one small
transaction, then the rest in batches, so that people who claim images meanwhile never wait.
"""

import time
import uuid
from dataclasses import dataclass

import numpy as np
import structlog

from model.arrays import F32
from model.exploration import STRATEGIES, Pool, estimate_open_share
from server.annotations.queries import hold_claims
from server.database import session_scope
from server.exploration import queries, vectors
from server.exploration.bulk import Rows
from server.exploration.priorities import arrange, control_turns, kinds, priorities
from server.exploration.queries import FIGURES, Places
from server.exploration.scores import Flags, Integers, Scores
from server.jobs import RESCORE, enqueue
from server.model_versions import service as versions
from server.tables import Project
from worker.engine import Engine
from worker.locks import only_one
from worker.recognition import Current
from worker.untrained import score_the_rest

logger = structlog.get_logger()

# Images read by one query, of which each joins what is stored of them, and scored by one call.
READ_CHUNK = 32_768
SCORE_CHUNK = 4096
# Figures that moved less are not written: they change no decision and no order that matters.
TOLERANCE = 1e-3
# Rows beyond those of the old and the new round that are written with the head.
HEAD_MARGIN = 128
WRITE_BATCH = 10_000
# The latest answers that the strategy keeps groups of their own for.
LATEST_LABELLED = 300
# After a pass the next one waits for twice as long as it took, so that a stream of labels leaves the cores
# to people and predictions.
PAUSE_FACTOR, LONGEST_PAUSE = 2.0, 1.0


def rescore(engine: Engine, project_id: uuid.UUID) -> None:
    """Bring the project's predictions and queue up to date; one run at a time per project.

    Requests that come while it runs are answered together by one more pass.
    """
    wanted = f"newfound:rescore:{project_id}"
    engine.redis.set(wanted, 1, ex=60)
    with only_one(engine.url, "rescore", project_id) as is_ours:
        while is_ours and engine.redis.delete(wanted) and not engine.stopping.is_set():
            began = time.monotonic()
            _pass(engine, project_id)
            if engine.redis.exists(wanted):
                time.sleep(min(PAUSE_FACTOR * (time.monotonic() - began), LONGEST_PAUSE))
    # A request that came between the last look and the unlocking found the lock taken.
    if is_ours and engine.redis.exists(wanted):
        with session_scope(engine.url) as session:
            enqueue(session, RESCORE, str(project_id))


@dataclass(frozen=True)
class _Settings:
    """The project's settings of the queue, and how far the queue is."""

    strategy: str
    gate: str
    round_size: int
    control_share: float
    served: int


@dataclass(frozen=True)
class _Pool:
    """All images that the version has scored: as stored, and as scored now. ``v`` f32[M,D] of the M that
    wait in the queue."""

    stored: Rows
    scores: Scores
    v: F32

    @property
    def waiting(self) -> Integers:
        """Rows of the images that wait."""
        return np.flatnonzero(self.stored["is_open"])


def _pass(engine: Engine, project_id: uuid.UUID) -> None:
    began = time.monotonic()
    with session_scope(engine.url) as session:
        version = versions.find_active(session, project_id)
        if version is None:
            return
        before = version.scored_revision
        project = session.get_one(Project, project_id)
        score_the_rest(session, version)
        current = engine.recognition.current(session, version, project.temperature)
        settings = _Settings(
            strategy=project.strategy,
            gate=project.gate,
            round_size=project.round_size,
            control_share=project.control_share,
            served=queries.count_served(session, project_id),
        )
        latest = vectors.read_latest_labelled(session, version.id, current.dim, LATEST_LABELLED)
    pool = _read_pool(engine, current)
    if pool is not None:
        labelled = latest["vector"]["values"].astype(np.float32)
        places = _arrange(pool, labelled, settings, seed=project_id.int)
        changed = _changed(pool)
        _write_places(engine, project_id, current, pool, places, changed, settings)
        _write_predictions(engine, current, pool, changed)
    with session_scope(engine.url) as session:
        queries.mark_scored(session, current.version_id, current.revision, before=before)
    logger.info(
        "rescored",
        project_id=str(project_id),
        revision=current.revision,
        images=0 if pool is None else len(pool.scores),
        seconds=round(time.monotonic() - began, 3),
    )


def _read_pool(engine: Engine, current: Current) -> _Pool | None:
    """All scored images, scored anew chunk by chunk. None if there are none."""
    stored, scores, waiting = [], [], []
    after = uuid.UUID(int=0)
    count = READ_CHUNK
    while count == READ_CHUNK:
        with session_scope(engine.url) as session:
            rows = queries.read_standings(session, current.version_id, current.dim, after, READ_CHUNK)
        count = len(rows)
        for at in range(0, count, SCORE_CHUNK):
            part = rows[at : at + SCORE_CHUNK]
            v = part["vector"]["values"].astype(np.float32)
            scores.append(current.score(part["image_id"], v))
            waiting.append(v[part["is_open"]])
            stored.append(_without_vectors(part))
            after = uuid.UUID(bytes=part["image_id"][-1].tobytes())
    if not stored:
        return None
    return _Pool(np.concatenate(stored), Scores.joined(scores), np.concatenate(waiting))


def _without_vectors(rows: Rows) -> Rows:
    names = ["category_id", "nearest_id", "confidence", *FIGURES, "is_open", "priority", "is_control"]
    kept = np.empty(len(rows), [(name, rows.dtype[name]) for name in names])
    for name in names:
        kept[name] = rows[name]
    return kept


def _arrange(pool: _Pool, labelled: F32, settings: _Settings, seed: int) -> Places:
    """The place of every image; those of images that do not wait mean nothing."""
    rows = pool.waiting
    waiting = pool.scores[rows]
    rng = np.random.default_rng(seed)
    turns = control_turns(settings.served, min(settings.round_size, len(rows)), settings.control_share)
    selection = STRATEGIES[settings.strategy].select(
        Pool(
            v=pool.v,
            free_energy=waiting.free_energy,
            openness=waiting.openness,
            unknown_score=waiting.unknown_score,
            labelled=labelled,
            open_share=estimate_open_share(waiting.unknown_score),
            gate=settings.gate,  # type: ignore[arg-type]  # the table's CHECK holds it to the three names
        ),
        int((~turns).sum()),
        rng,
    )
    others = np.setdiff1d(np.arange(len(rows)), selection.indices)
    controls = rng.permutation(others)[: int(turns.sum())]
    order = arrange(turns, selection.indices, controls)
    count = len(pool.scores)
    places = Places(
        priority=priorities(pool.scores.free_energy, rows[order]),
        is_control=np.zeros(count, np.bool_),
        kind=np.zeros(count, np.int64),
        rank=np.zeros(count, np.int64),
        group_size=np.zeros(count, np.int64),
    )
    places.is_control[rows[controls]] = True
    places.rank[rows[order]] = np.arange(1, len(order) + 1)
    in_group = selection.groups >= 0
    places.group_size[rows[selection.indices[in_group]]] = selection.group_sizes[in_group]
    places.kind[:] = kinds(pool.scores, places.is_control)
    return places


def _changed(pool: _Pool) -> Flags:
    """Images of which the version says something else than what is stored, bool[N]."""
    stored, scores = pool.stored, pool.scores
    changed = np.zeros(len(scores), np.bool_)
    for name in FIGURES:
        changed |= np.abs(stored[name] - getattr(scores, name)) > TOLERANCE
    if scores.top_ids.shape[1] == 0:
        return np.asarray(changed | (_halves(stored["category_id"]) != 0).any(1))
    changed |= np.abs(stored["confidence"] - scores.probabilities[:, 0]) > TOLERANCE
    changed |= _differ(stored["category_id"], scores.top_ids[:, 0])
    changed |= _differ(stored["nearest_id"], scores.nearest_ids[:, 0])
    return changed


def _differ(one: Rows, other: Rows) -> Flags:
    return np.asarray((_halves(one) != _halves(other)).any(1))


def _halves(ids: Rows) -> Integers:
    """Ids V16[N] as numbers int64[N,2], which numpy can compare."""
    return np.ascontiguousarray(ids).view(np.int64).reshape(-1, 2)


def _write_places(
    engine: Engine,
    project_id: uuid.UUID,
    current: Current,
    pool: _Pool,
    places: Places,
    changed: Flags,
    settings: _Settings,
) -> None:
    """Write the places that moved: the head of the old and of the new order first."""
    stored = pool.stored
    moved = changed | (np.abs(stored["priority"] - places.priority) > TOLERANCE)
    moved |= stored["is_control"] != places.is_control
    rows = np.flatnonzero(moved & stored["is_open"])
    rows = rows[np.argsort(-np.maximum(stored["priority"], places.priority)[rows], kind="stable")]
    head = 2 * settings.round_size + HEAD_MARGIN
    for at, some in enumerate([rows[:head], *_batches(rows[head:])]):
        with session_scope(engine.url) as session:
            if at == 0:
                hold_claims(session, project_id)
            queries.write_places(
                session,
                pool.scores[some],
                places[some],
                categories=len(current.memory),
                strategy=settings.strategy,
                gate=settings.gate,
            )


def _write_predictions(engine: Engine, current: Current, pool: _Pool, changed: Flags) -> None:
    for some in _batches(np.flatnonzero(changed)):
        with session_scope(engine.url) as session:
            queries.write_predictions(session, current.version_id, current.revision, pool.scores[some])


def _batches(rows: Integers) -> list[Integers]:
    return [rows[at : at + WRITE_BATCH] for at in range(0, len(rows), WRITE_BATCH)]

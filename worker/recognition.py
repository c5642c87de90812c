"""The recogniser of each project's active version with its memory as it stands now."""

import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from sqlalchemy.orm import Session

from model.arrays import F32
from model.memory import ClassMemory
from model.recogniser import Recogniser
from server.exploration import memory as memory_queries
from server.exploration.scores import Ids, Scores, pack
from server.tables import ModelVersion

# Versions kept in memory; one takes about 3 MB.
MOST_HELD = 16
FIRST_REVISION = -1


def rounded(values: F32) -> F32:
    """Values as the database keeps them, in 16 bits: whatever is computed from them comes out the same
    whether they were stored in between or not."""
    return values.astype(np.float16).astype(np.float32)


@dataclass(frozen=True)
class Current:
    """A version that can score, at one revision of its memory. ``category_ids`` V16[K] are its rows."""

    version_id: uuid.UUID
    number: int
    revision: int
    recogniser: Recogniser
    memory: ClassMemory
    category_ids: Ids

    @property
    def dim(self) -> int:
        """Dimensions of v."""
        return self.recogniser.space.dim

    def embed(self, features: F32) -> F32:
        """v f32[N,D], as stored, of features f32[N,F], as stored."""
        return rounded(self.recogniser.embed(features))

    def score(self, image_ids: Ids, v: F32) -> Scores:
        """What the version says of images with embeddings f32[N,D]."""
        found = self.recogniser.predict(v, self.memory)
        usual_limits = np.zeros(len(v), np.float32)
        if len(self.memory):
            usual_limits = self.memory.limits[found.nearest[:, 0]]
        return Scores(
            image_ids=image_ids,
            top_ids=self.category_ids[found.order],
            probabilities=found.probabilities,
            nearest_ids=self.category_ids[found.nearest],
            distances=found.distances,
            usual_limits=usual_limits,
            openness=found.openness,
            informativeness=found.informativeness,
            free_energy=found.free_energy,
            unknown_score=found.unknown_score,
            is_known=found.is_known,
        )


@dataclass
class _Held:
    """A version's recogniser and the memory rows that have been read so far."""

    recogniser: Recogniser
    revision: int = FIRST_REVISION
    rows: dict[uuid.UUID, Any] = field(default_factory=dict)
    memory: ClassMemory | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Recognition:
    """Recognisers by version, loaded from their checkpoints when first asked for."""

    def __init__(self, checkpoints: Path) -> None:
        self._checkpoints = checkpoints
        self._held: OrderedDict[uuid.UUID, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def folder(self, version_id: uuid.UUID) -> Path:
        """Where a version's checkpoint lies."""
        return self._checkpoints / str(version_id)

    def save(self, version_id: uuid.UUID, recogniser: Recogniser) -> None:
        """Write a version's checkpoint: whole or not at all. One that is there is replaced."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._checkpoints, prefix=".new-") as temporary:
            recogniser.save(Path(temporary) / "checkpoint")
            shutil.rmtree(self.folder(version_id), ignore_errors=True)
            (Path(temporary) / "checkpoint").rename(self.folder(version_id))

    def recogniser(self, version_id: uuid.UUID) -> Recogniser:
        """A version's recogniser as trained. Raises ``CheckpointError``."""
        return self._hold(version_id).recogniser

    def current(self, session: Session, version: ModelVersion, temperature: float) -> Current:
        """A version with its memory as the database has it now; only rows that changed are read."""
        held = self._hold(version.id)
        with held.lock:
            if held.memory is None or held.revision != version.memory_revision:
                self._bring_up_to_date(session, version, held)
            return Current(
                version_id=version.id,
                number=version.number,
                revision=held.revision,
                recogniser=replace(held.recogniser, temperature=temperature),
                memory=cast(ClassMemory, held.memory),
                category_ids=pack(list(held.rows)),
            )

    def _hold(self, version_id: uuid.UUID) -> _Held:
        with self._lock:
            if version_id not in self._held:
                self._held[version_id] = _Held(Recogniser.load(self.folder(version_id)))
            self._held.move_to_end(version_id)
            while len(self._held) > MOST_HELD:
                self._held.popitem(last=False)
            return self._held[version_id]

    def _bring_up_to_date(self, session: Session, version: ModelVersion, held: _Held) -> None:
        dim = held.recogniser.space.dim
        while True:
            revision = version.memory_revision
            changed = memory_queries.read_memory(session, version.id, dim, after=held.revision)
            remembered = memory_queries.list_remembered(session, version.id)
            session.refresh(version, ["memory_revision"])
            # Rows may have changed between the statements: only an unmoved revision is a clear view.
            if version.memory_revision == revision:
                break
        rows = held.rows | {uuid.UUID(bytes=row["category_id"].tobytes()): row for row in changed}
        held.rows = {category: rows[category] for category in sorted(remembered)}
        held.memory = _memory(held.rows, dim)
        held.revision = revision


def _memory(rows: dict[uuid.UUID, Any], dim: int) -> ClassMemory:
    def vectors(name: str) -> F32:
        return np.array([row[name]["values"] for row in rows.values()], np.float32).reshape(-1, dim)

    return ClassMemory(
        categories=tuple(str(category) for category in rows),
        centroids=vectors("centroid"),
        weights=vectors("weight"),
        hallucinators=vectors("hallucinator"),
        counts=np.array([row["count"] for row in rows.values()], np.int64),
        limits=np.array([row["usual_limit"] for row in rows.values()], np.float32),
    )

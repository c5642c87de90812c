"""The recogniser: what a trained head does to features, in numpy, without torch.

Everything here is frozen after training except the class memory, which is an argument: a category
that people add or correct is a new memory, not a new model.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from model.arrays import F32, I64, Bool, distances, unit
from model.exploration import energy
from model.hallucination import update, usual_limit
from model.memory import ClassMemory
from model.scores import SCORES, Score, Threshold
from model.space import Space

FORMAT = 1
TOP = 5
# γ is floored at this share of γ₀ so that an image on a centroid stays finite (design reading H).
GAMMA_FLOOR = 0.1
# Without training, seen on emoji and on grocery photographs: 95 % of a class's images lie within 0.88 of an
# exactly known centroid, 95 % of other images beyond 0.8 to 1.0.
UNTRAINED_LIMIT = 0.88
UNTRAINED_CUT = 0.95
UNTRAINED_SCALE = 16.0
# A class from labels alone competes with trained weights by cosine. Averaging makes a mean of more labels
# the better match of every image, known ones too, so the mean of n labels gives back this times 1 − 1/n.
# Chosen on validation classes: known accuracy falls by at most 1.5 points there (docs/results/head.md).
MEAN_ADVANTAGE = 0.035

Squash = Literal["paper", "code"]


class CheckpointError(Exception):
    """A checkpoint folder is incomplete, damaged or of another format."""


@dataclass(frozen=True)
class Predictions:
    """N images against a memory of K classes; k = min(K, 5). Indices are rows of the memory.

    ``order`` i64[N,k] and ``probabilities`` f32[N,k]: most probable first.
    ``nearest`` i64[N,k] and ``distances`` f32[N,k]: nearest centroid first.
    ``openness``, ``informativeness``, ``free_energy`` f32[N]: Eq. 7–9.
    ``unknown_score`` f32[N] in (0, 1): from 0.5 up an image is called new; ``is_known`` bool[N].
    """

    order: I64
    probabilities: F32
    nearest: I64
    distances: F32
    openness: F32
    informativeness: F32
    free_energy: F32
    unknown_score: F32
    is_known: Bool


@dataclass(frozen=True)
class Recogniser:
    """A trained (or untrained) head.

    ``selector_weight`` f32[D,D], ``selector_bias`` f32[D]: T_sel of Eq. 5. ``scale``: of the cosine
    classifier. ``gamma0``: median distance of a training image to its nearest centroid. ``limit``: the
    distance within which 95 % of a class's images lie from an exactly known centroid. ``temperature``:
    T of the free energy. ``base``: the memory as trained.
    """

    space: Space
    selector_weight: F32
    selector_bias: F32
    scale: float
    gamma0: float
    limit: float
    score: Score
    threshold: Threshold
    base: ClassMemory
    temperature: float = energy.TEMPERATURE
    squash: Squash = "paper"

    @classmethod
    def untrained(cls, features: F32) -> "Recogniser":
        """No classes, the centred space of the features f32[N,F] of some images, N ≥ 1."""
        space = Space.centred(features)
        return cls(
            space=space,
            selector_weight=np.zeros((space.dim, space.dim), np.float32),
            selector_bias=np.zeros(space.dim, np.float32),
            scale=UNTRAINED_SCALE,
            gamma0=1.0,
            limit=UNTRAINED_LIMIT,
            score=SCORES["reachability"](),
            threshold=Threshold("reachability", UNTRAINED_CUT, 0.1, "fixed: nothing is trained yet"),
            base=ClassMemory.empty(space.dim),
        )

    def embed(self, features: F32) -> F32:
        """Unit vectors ``v`` f32[N,D] of raw backbone features f32[N,F]."""
        return self.space.transform(features)

    def revise(self, memory: ClassMemory, category: str, added: F32, removed: F32) -> ClassMemory:
        """The memory after labels of one category came and went.

        ``added`` f32[m,D]: all images of the category labelled since training; ``removed`` f32[r,D]:
        its training images withdrawn since. The row is computed from ``base``, whatever ``memory``
        says, so a repeat changes nothing. A category without images leaves the memory.
        """
        row = update(self.base.find(category), added, removed)
        if row is None:
            return memory.replaced(category, None)
        return memory.replaced(category, row, usual_limit(self.limit, row.count))

    def predict(self, v: F32, memory: ClassMemory, *, top_k: int = TOP) -> Predictions:
        """Classes, distances and open-set scores of embeddings f32[N,D]; any K ≥ 0, all finite.

        ``top_k``: how many of the most probable classes to list.
        """
        if len(memory) == 0:
            return _without_classes(len(v))
        gaps = distances(v, memory.centroids)
        probabilities = softmax(self.logits(v, memory, gaps.min(1)))
        order, nearest = top(-probabilities, top_k), top(gaps)
        nearest_gaps = np.take_along_axis(gaps, nearest, 1)
        unknown_score = self.threshold.normalise(self._raw_unknown_score(v, memory))
        return Predictions(
            order=order,
            probabilities=np.take_along_axis(probabilities, order, 1),
            nearest=nearest,
            distances=nearest_gaps,
            openness=energy.openness(nearest_gaps),
            informativeness=energy.informativeness(nearest_gaps),
            free_energy=energy.free_energy(gaps, self.temperature),
            unknown_score=unknown_score,
            is_known=unknown_score < 0.5,
        )

    def logits(self, v: F32, memory: ClassMemory, gamma: F32) -> F32:
        """Class scores f32[N,K], K ≥ 1, of the memory-infused embedding (Eq. 2–5, 10).

        Reachability multiplies all logits of an image by the same positive number: it makes an image
        far from every class less certain and never changes which class wins.
        """
        concepts = softmax(v @ memory.hallucinators.T) @ memory.centroids
        selector = np.tanh(v @ self.selector_weight.T + self.selector_bias)
        infused = unit(v + selector * concepts)
        cosine = infused @ memory.weights.T + self._label_bias(memory)
        return np.asarray(self.scale * self.certainty(gamma)[:, None] * cosine, dtype=np.float32)

    def _raw_unknown_score(self, v: F32, memory: ClassMemory) -> F32:
        """f32[N], K ≥ 1. The mean of n labels is itself off, so images of an added class lie √(1 + 1/n)
        times farther from it, and without an allowance their own class would call them unknown. The
        whole of it takes in images of other classes after one label; its root took in a tenth more of
        the class's own on validation classes and no others (docs/results/head.md)."""
        added = ~self._is_trained(memory)
        allowance = np.ones(len(memory), np.float32)
        allowance[added] = ((1 + 1 / memory.counts[added]) / self._usual_growth()) ** 0.25
        nearest: F32 = (self.score.gaps(v, memory) / allowance).min(axis=1)
        return nearest

    def _usual_growth(self) -> float:
        """1 + 1/n of the trained classes' median n, which the threshold was calibrated with."""
        return 1 + 1 / float(np.median(self.base.counts)) if len(self.base) else 1.0

    def _label_bias(self, memory: ClassMemory) -> F32:
        """Added to the cosine of each class, f32[K]: 0 for trained ones."""
        bias = -MEAN_ADVANTAGE * (1 - 1 / memory.counts)
        return np.where(self._is_trained(memory), 0.0, bias).astype(np.float32)

    def _is_trained(self, memory: ClassMemory) -> Bool:
        trained = set(self.base.categories)
        return np.array([category in trained for category in memory.categories], np.bool_)

    def certainty(self, gamma: F32) -> F32:
        """2·squash(γ₀/γ): in (0, 2), 1 at the usual distance, falling with γ."""
        n = self.gamma0 / np.maximum(gamma, GAMMA_FLOOR * self.gamma0)
        length = n * n / (1 + n * n) if self.squash == "paper" else n / (1 + n)
        return np.asarray(2 * length, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write ``recogniser.safetensors`` and ``recogniser.json`` into a folder, made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            "mean": self.space.mean,
            "components": self.space.components,
            "whitening": self.space.whitening,
            "selector_weight": self.selector_weight,
            "selector_bias": self.selector_bias,
            "centroids": self.base.centroids,
            "weights": self.base.weights,
            "hallucinators": self.base.hallucinators,
            "counts": self.base.counts,
            "limits": self.base.limits,
        } | {f"score.{name}": array for name, array in self.score.arrays().items()}
        content = save_tensors({name: np.ascontiguousarray(array) for name, array in tensors.items()})
        (folder / "recogniser.safetensors").write_bytes(content)
        description = {
            "format": FORMAT,
            "sha256": hashlib.sha256(content).hexdigest(),
            "categories": list(self.base.categories),
            "scale": self.scale,
            "gamma0": self.gamma0,
            "limit": self.limit,
            "temperature": self.temperature,
            "squash": self.squash,
            "threshold": asdict(self.threshold),
        }
        (folder / "recogniser.json").write_text(json.dumps(description, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Recogniser":
        """Read what ``save`` wrote. Raises CheckpointError if it is missing, damaged or too new."""
        description, tensors = _read(folder)
        threshold = Threshold(**description["threshold"])
        fitted = {name[6:]: array for name, array in tensors.items() if name.startswith("score.")}
        memory = (tensors[name] for name in ("centroids", "weights", "hallucinators", "counts", "limits"))
        return cls(
            space=Space(tensors["mean"], tensors["components"], tensors["whitening"]),
            selector_weight=tensors["selector_weight"],
            selector_bias=tensors["selector_bias"],
            scale=description["scale"],
            gamma0=description["gamma0"],
            limit=description["limit"],
            score=SCORES[threshold.score].restore(fitted),
            threshold=threshold,
            base=ClassMemory(tuple(description["categories"]), *memory),
            temperature=description["temperature"],
            squash=description["squash"],
        )


def softmax(logits: F32) -> F32:
    """Row-wise softmax, safe for any finite logits."""
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponent / exponent.sum(1, keepdims=True), dtype=np.float32)


def top(values: F32, k: int = TOP) -> I64:
    """Columns of the (up to) k smallest values of each row, ascending: int64[N,min(k,K)]."""
    k = min(k, values.shape[1])
    best = np.argpartition(values, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(values, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1).astype(np.int64)


def _without_classes(images: int) -> Predictions:
    """Everything is new where nothing has a name."""
    no_distances = np.zeros((images, 0), np.float32)
    return Predictions(
        order=np.zeros((images, 0), np.int64),
        probabilities=no_distances,
        nearest=np.zeros((images, 0), np.int64),
        distances=no_distances,
        openness=energy.openness(no_distances),
        informativeness=energy.informativeness(no_distances),
        free_energy=energy.free_energy(no_distances),
        unknown_score=np.ones(images, np.float32),
        is_known=np.zeros(images, np.bool_),
    )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        description = json.loads((folder / "recogniser.json").read_text(encoding="utf-8"))
        content = (folder / "recogniser.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no readable recogniser: {error}") from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{folder} has format {found}, this version reads {FORMAT}.")
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise CheckpointError(f"{folder}/recogniser.safetensors is damaged: its checksum differs.")
    return description, load_tensors(content)

"""Training of the head on frozen features: labelled raw features in, a ``Recogniser`` out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.arrays import F32, I64, unit
from model.calibration import calibrate_on
from model.losses import log_prior, logit_adjusted_cross_entropy, weight_pull
from model.memory import ClassMemory
from model.network import OLTRHead
from model.recogniser import Recogniser
from model.scores import SCORES
from model.space import SHRINKAGE, SPACE_DIM, Space, class_means

Progress = Callable[[int, int, float], None]


class TrainingStopped(Exception):
    """Raised by a ``progress`` callback to call the training off; nothing is made."""


@dataclass(frozen=True)
class TrainConfig:
    """The measured recipe. Fewer than 800 steps made every head 5–15 points worse."""

    min_steps: int = 800
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    prior_strength: float = 1.25
    pull: float = 2.0
    dim: int = SPACE_DIM
    shrinkage: float = SHRINKAGE
    temperature: float = 0.02
    seed: int = 0

    def steps(self, images: int) -> int:
        return max(self.min_steps, self.epochs * images // self.batch)


def train_head(
    x: F32,
    labels: Sequence[str],
    config: TrainConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Recogniser:
    """Train on raw backbone features f32[N,F] and the category of each image, N ≥ 1, K ≥ 1.

    Any class sizes work, one class or one image included. The same input and seed give the same
    recogniser on the same number of threads. ``progress(step, steps, loss)`` is called every
    20 steps; what it raises ends the training.

    Raises ValueError without images or with labels of another length.
    """
    config = config or TrainConfig()
    if len(x) == 0 or len(x) != len(labels):
        raise ValueError(f"Training needs images and one label for each: {len(x)} and {len(labels)} given.")
    categories, index = np.unique(np.asarray(labels), return_inverse=True)
    fit_space = partial(Space.fit, dim=config.dim, shrinkage=config.shrinkage)
    space = fit_space(x, index)
    v = space.transform(x)
    calibration = calibrate_on(x, index, fit_space, seed=config.seed)
    head = _optimise(v, index, config, progress)
    memory = ClassMemory(
        categories=tuple(str(category) for category in categories),
        centroids=_array(head.memory),
        weights=unit(_array(head.weights)),
        hallucinators=_array(head.hallucinators),
        counts=np.bincount(index).astype(np.int64),
        limits=calibration.limits,
    )
    return Recogniser(
        space=space,
        selector_weight=_array(head.selector_weight),
        selector_bias=_array(head.selector_bias),
        scale=float(head.scale.detach()),
        gamma0=calibration.gamma0,
        limit=calibration.limit,
        score=SCORES[calibration.threshold.score]().fit(v, index),
        threshold=calibration.threshold,
        base=memory,
        temperature=config.temperature,
    )


def _optimise(
    v: F32,
    index: I64,
    config: TrainConfig,
    progress: Progress | None,
) -> OLTRHead:
    """The trained module for embeddings f32[N,D] with labels 0…K−1."""
    generator = torch.Generator().manual_seed(config.seed)
    classes = int(index.max()) + 1
    memory = torch.from_numpy(class_means(v, index, classes))
    embeddings, labels = torch.from_numpy(v), torch.from_numpy(index)
    residuals = embeddings - memory[labels]
    prior = log_prior(labels, classes)
    head = OLTRHead(memory, generator)
    steps = config.steps(len(v))
    optimiser = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps)
    for step in range(1, steps + 1):
        rows = torch.randint(len(v), (config.batch,), generator=generator)
        augmented = augment(embeddings[rows], residuals, generator)
        loss = logit_adjusted_cross_entropy(head(augmented), labels[rows], prior, config.prior_strength)
        loss = loss + config.pull * weight_pull(head.weights, head.memory)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress is not None and (step % 20 == 0 or step == steps):
            progress(step, steps, float(loss.detach()))
    return head


def augment(v: Tensor, residuals: Tensor, generator: torch.Generator) -> Tensor:
    """L2(v + a·r), a ~ U(0, 1): r is what sets a random training image apart from its class mean, [N,D].

    Variation seen in any class is lent to all, so a class of three images is not three points.
    """
    lent = residuals[torch.randint(len(residuals), (len(v),), generator=generator)]
    amount = torch.rand(len(v), 1, generator=generator)
    return functional.normalize(v + amount * lent, dim=1)


def _array(tensor: Tensor) -> F32:
    return tensor.detach().cpu().numpy().astype(np.float32)

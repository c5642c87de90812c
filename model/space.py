"""The space in which everything is measured: raw backbone features to unit vectors ``v``.

x → L2 → minus the mean of the class means → PCA → L2 → whitening by the pooled within-class covariance → L2.
Distances, class memory, hallucinated weights and the queue all live here. The maps are fitted once
per training and then frozen, so a ``v`` stays valid until the next training.
"""

from dataclasses import dataclass

import numpy as np

from model.arrays import F32, F64, I64, TINY, unit

SPACE_DIM = 384
# Share of the pooled covariance replaced by its mean variance: with fewer images than dimensions the
# estimate is singular. ½ was best in the design's measurements.
SHRINKAGE = 0.5


@dataclass(frozen=True)
class Space:
    """``mean`` f32[F], ``components`` f32[F,D], ``whitening`` f32[D,D] (identity when not whitened)."""

    mean: F32
    components: F32
    whitening: F32

    @property
    def dim(self) -> int:
        return len(self.whitening)

    def transform(self, x: F32) -> F32:
        """Unit vectors f32[N,D] of raw features f32[N,F]. A zero feature gives a finite vector."""
        projected = unit((unit(x) - self.mean) @ self.components)
        return unit(projected @ self.whitening)

    @classmethod
    def fit(cls, x: F32, labels: I64, *, dim: int = SPACE_DIM, shrinkage: float = SHRINKAGE) -> "Space":
        """Fit on labelled training features f32[N,F], labels int64[N]; N ≥ 1, any class sizes."""
        classes, index = np.unique(labels, return_inverse=True)
        space = cls._centred(x, class_means(unit(x), index, len(classes)), dim)
        covariance = pooled_covariance(space.transform(x), index)
        return cls(space.mean, space.components, whitening_factor(covariance, shrinkage))

    @classmethod
    def centred(cls, x: F32, *, dim: int = SPACE_DIM) -> "Space":
        """Fit on features without labels: L2 → minus mean → PCA → L2, no whitening."""
        return cls._centred(x, unit(x), dim)

    @classmethod
    def _centred(cls, x: F32, kinds: F32, dim: int) -> "Space":
        """``kinds``: what the mean is taken over, f32[K,F]: classes, so that a frequent one does not pull
        the origin to itself. The mean of K kinds still holds a share 1/K of what is particular to
        them, so that share is left in: one class alone would lose all that tells it from the rest."""
        if len(x) == 0:
            raise ValueError("A space needs at least one image.")
        mean = kinds.mean(0) * np.float32(1 - 1 / len(kinds))
        dim = min(dim, x.shape[1])
        return cls(mean, principal_directions(unit(x) - mean, dim), np.eye(dim, dtype=np.float32))


def principal_directions(moved: F32, dim: int) -> F32:
    """Orthogonal columns f32[F,dim]: the leading principal directions of the rows of f32[N,F], length 1.

    Where there are fewer than ``dim`` of them they are completed by random directions of the rest of
    the space (fixed seed): a class nobody has labelled yet may differ only there. These are longer, so
    that on average distances in the rest of the space are kept (Johnson & Lindenstrauss 1984).
    """
    rows = moved.astype(np.float64)
    # Rows·rowsᵀ has the same eigenvalues as rowsᵀ·rows: take the smaller of the two.
    few = len(rows) < rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    rank = int(min(dim, (values > values[-1] * 1e-8 + TINY).sum()))
    leading = vectors[:, ::-1][:, :rank]
    if few:
        leading = rows.T @ leading
        leading /= np.linalg.norm(leading, axis=0)
    # An eigenvector's sign is arbitrary: make its largest entry positive, so that fits agree.
    leading = leading * np.sign(leading[np.abs(leading).argmax(0), np.arange(rank)])
    if rank < dim:
        rest = moved.shape[1] - rank
        random = np.random.default_rng(0).standard_normal((moved.shape[1], dim - rank))
        random -= leading @ (leading.T @ random)
        leading = np.hstack([leading, np.linalg.qr(random)[0] * np.sqrt(rest / (dim - rank))])
    return leading.astype(np.float32)


def class_means(v: F32, labels: I64, classes: int) -> F32:
    """Exact means f32[K,D] of the rows of each class 0…K−1; zero for a class without rows."""
    sums = np.zeros((classes, v.shape[1]), np.float64)
    np.add.at(sums, labels, v.astype(np.float64))
    counts = np.bincount(labels, minlength=classes)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def pooled_covariance(v: F32, labels: I64) -> F64:
    """Within-class covariance f64[D,D] pooled over classes 0…K−1; classes of one image add nothing."""
    classes = int(labels.max()) + 1
    residuals = (v - class_means(v, labels, classes)[labels]).astype(np.float64)
    return np.asarray(residuals.T @ residuals / max(len(v) - classes, 1), dtype=np.float64)


def whitening_factor(covariance: F64, shrinkage: float = SHRINKAGE) -> F32:
    """A matrix W with W·Wᵀ = inverse of the shrunk covariance; identity if there is no variance."""
    dim = len(covariance)
    variance = np.trace(covariance) / dim
    if variance <= TINY:
        return np.eye(dim, dtype=np.float32)
    shrunk = (1 - shrinkage) * covariance + shrinkage * variance * np.eye(dim)
    return np.linalg.cholesky(np.linalg.inv(shrunk / variance)).astype(np.float32)

"""Array types and the two operations that every part of the library shares."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]

TINY = 1e-12


def unit(x: F32 | F64) -> F32:
    """Scale the last axis to length 1. A zero vector stays zero, so nothing becomes NaN."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), TINY), dtype=np.float32)


def distances(v: F32, points: F32) -> F32:
    """Euclidean distances ‖v_n − p_k‖, f32[N,K], by one matrix product (no N×K×D array)."""
    squared = np.square(v).sum(1)[:, None] + np.square(points).sum(1)[None, :] - 2.0 * (v @ points.T)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), dtype=np.float32)

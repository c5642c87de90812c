"""Openness, informativeness and free energy of an image (OLTR++ Eq. 7–9) from its class distances."""

import numpy as np

from model.arrays import F32, TINY

# The diameter of the unit sphere: how far an image is from the nearest class when there is none.
NO_CLASS = 2.0
TEMPERATURE = 0.02


def openness(nearest: F32) -> F32:
    """U_open = d_1 (Eq. 7). ``nearest``: f32[N,k] ascending distances, k ≥ 0; 2 without classes."""
    if nearest.shape[1] == 0:
        return np.full(len(nearest), NO_CLASS, np.float32)
    return nearest[:, 0]


def informativeness(nearest: F32) -> F32:
    """U_info = d_1/d_2 in [0, 1] (Eq. 8); 1 with fewer than two classes or when both distances are 0."""
    if nearest.shape[1] < 2:
        return np.ones(len(nearest), np.float32)
    first, second = nearest[:, 0], nearest[:, 1]
    return np.where(second > TINY, first / np.maximum(second, TINY), 1.0).astype(np.float32)


def free_energy(distances: F32, temperature: float = TEMPERATURE) -> F32:
    """E = U_info·F with F = −T·log Σ_i exp(−d_i/T), f32[N]; high = new. ``distances``: f32[N,K], any order.

    The reading of Eq. 9 that keeps its index, its sign and the role of T (the printed sum does not
    depend on i: see ``eq9_literal``). E → U_open·U_info as T → 0. Below 0 for an image close to a
    class. Without classes E = 2: F ≤ d_1 ≤ 2, so nothing with classes lies above.
    """
    if distances.shape[1] == 0:
        return np.full(len(distances), NO_CLASS, np.float32)
    nearest = two_nearest(distances)
    first = nearest[:, :1]
    tail = np.exp((first - distances) / temperature).sum(1)
    soft_minimum = first[:, 0] - temperature * np.log(tail)
    return np.asarray(informativeness(nearest) * soft_minimum, dtype=np.float32)


def eq9_literal(distances: F32, temperature: float = TEMPERATURE) -> F32:
    """Eq. 9 as printed: −T·log Σ_i exp(U_open·U_info/T) = −U_open·U_info − T·log K. K ≥ 1.

    Kept to show what the print says: its highest energies are the least open images.
    """
    nearest = two_nearest(distances)
    product = openness(nearest) * informativeness(nearest)
    return np.asarray(-product - temperature * np.log(distances.shape[1]), dtype=np.float32)


def two_nearest(distances: F32) -> F32:
    """The (up to) two smallest distances of each image, ascending."""
    if distances.shape[1] <= 2:
        return np.sort(distances, axis=1)
    return np.sort(np.partition(distances, 1, axis=1)[:, :2], axis=1)

"""What a model version says of many images, as arrays that go straight into the database."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.void]
Reals = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Predictions of N images, row by row; k = min(number of categories, 5).

    ``image_ids`` V16[N]. ``top_ids`` V16[N,k] with ``probabilities`` f32[N,k]: most probable first.
    ``nearest_ids`` V16[N,k] with ``distances`` f32[N,k]: nearest first. ``usual_limits`` f32[N]: within
    which the images of the nearest category usually lie (0 without any). The others f32[N], bool[N].
    """

    image_ids: Ids
    top_ids: Ids
    probabilities: Reals
    nearest_ids: Ids
    distances: Reals
    usual_limits: Reals
    openness: Reals
    informativeness: Reals
    free_energy: Reals
    unknown_score: Reals
    is_known: Flags

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, rows: Any) -> Self:
        """The same of some rows: a slice, a mask or indices."""
        return type(self)(**{name: values[rows] for name, values in vars(self).items()})

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Parts of at least one, one below the other."""
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        )


def pack(ids: list[Any]) -> Ids:
    """UUIDs as an array V16[N]."""
    return np.frombuffer(b"".join(one.bytes for one in ids), "V16")

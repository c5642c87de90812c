"""What the service is shown, what it is asked to find, and what it is tested on.

Known categories are trained on; novel ones appear only in the pool, unnamed, until somebody names them.
No picture is in two splits.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from demo.errors import DemoError
from demo.sources import Example, Source

# A source without a test split of its own: shares of each known category, the rest goes to the pool.
TRAIN_SHARE, TEST_SHARE = 0.6, 0.2
# A source with one: share of the other pictures of a known category that is trained on.
LISTED_TRAIN_SHARE = 0.85
# The pool's share of a novel category; the rest tests whether the category is recognised.
POOL_SHARE = 0.5
FEW_SHOT_LIMIT = 20


@dataclass(frozen=True)
class Dataset:
    """The pictures of one source in their parts, for one seed."""

    source: Source
    train: tuple[Example, ...]
    pool: tuple[Example, ...]
    known_test: tuple[Example, ...]
    novel_test: tuple[Example, ...]

    @property
    def known(self) -> tuple[str, ...]:
        """Names of the categories trained on."""
        return tuple(sorted({one.category for one in self.train}))

    @property
    def novel(self) -> tuple[str, ...]:
        """Names of the categories that nobody has named yet."""
        return tuple(sorted({one.category for one in self.pool} - set(self.known)))

    @property
    def few_shot(self) -> frozenset[str]:
        """Known categories of at most 20 training images, the literature's "few"."""
        counts = Counter(one.category for one in self.train)
        return frozenset(name for name, count in counts.items() if count <= FEW_SHOT_LIMIT)

    def unseen(self, category: str) -> tuple[Example, ...]:
        """Test pictures of a novel category; the service never stores them."""
        return tuple(one for one in self.novel_test if one.category == category)


def divide(source: Source, seed: int) -> Dataset:
    """Draw the parts of a source: the same for the same seed.

    A source that names a split "test" keeps it and only the training images are drawn; else all are.
    Raises :class:`DemoError` if fewer than two categories would stay known.
    """
    categories = sorted({one.category for one in source.examples})
    if len(set(categories) - source.novel) < 2 or not source.novel:
        raise DemoError(
            f"{source.name} has {len(categories)} classes; at least 3 are needed: 2 to know, 1 to find."
        )
    by_category: dict[str, list[Example]] = defaultdict(list)
    for one in sorted(source.examples, key=lambda one: one.path):
        by_category[one.category].append(one)
    listed = any(one.split == "test" for one in source.examples)
    parts: dict[str, list[Example]] = {"train": [], "pool": [], "test": []}
    rng = np.random.default_rng(seed)
    for category in categories:
        mixed = [by_category[category][at] for at in rng.permutation(len(by_category[category]))]
        for part, examples in _parts(mixed, novel=category in source.novel, listed=listed).items():
            parts[part] += examples
    # Uploaded class after class, the pool would tell its order to whoever labels it.
    pool = [parts["pool"][at] for at in rng.permutation(len(parts["pool"]))]
    return Dataset(
        source,
        tuple(parts["train"]),
        tuple(pool),
        tuple(one for one in parts["test"] if one.category not in source.novel),
        tuple(one for one in parts["test"] if one.category in source.novel),
    )


def _parts(mixed: list[Example], *, novel: bool, listed: bool) -> dict[str, list[Example]]:
    """Divide one category's pictures, already in random order."""
    test = [one for one in mixed if one.split == "test"]
    rest = [one for one in mixed if one.split != "test"]
    if novel:
        cut = len(rest) if listed else max(1, round(POOL_SHARE * len(rest)))
        return {"pool": rest[:cut], "test": test + rest[cut:]}
    if listed:
        cut = max(1, round(LISTED_TRAIN_SHARE * len(rest)))
        return {"train": rest[:cut], "pool": rest[cut:], "test": test}
    cut = max(1, round(TRAIN_SHARE * len(rest)))
    end = cut + max(1, round(TEST_SHARE * len(rest)))
    return {"train": rest[:cut], "test": rest[cut:end], "pool": rest[end:]}

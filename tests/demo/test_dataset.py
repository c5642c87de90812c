"""Division of a source: the same for the same seed, no picture in two parts, novel classes unnamed."""

import os
from collections import Counter
from pathlib import Path

import pytest

from demo.dataset import Dataset, divide
from demo.errors import DemoError
from demo.sources import Example, Source, emoji_source, open_source

SHARED = Path(os.environ.get("NEWFOUND_SHARED", Path(__file__).parents[2].parent / "shared"))
GROCERY = SHARED / "data" / "grocery-store.zip"


def source_of(counts: dict[str, int], novel: set[str], split: str = "") -> Source:
    examples = [
        Example(f"{name}/{at}.png", name, split) for name, count in counts.items() for at in range(count)
    ]
    return Source("made", tuple(examples), lambda path: path.encode(), frozenset(novel))


def parts(dataset: Dataset) -> list[Example]:
    return [*dataset.train, *dataset.pool, *dataset.known_test, *dataset.novel_test]


class TestDivide:
    def test_the_same_seed_gives_the_same_parts(self) -> None:
        first, again, other = (divide(emoji_source(), seed) for seed in (3, 3, 4))
        assert parts(first) == parts(again)
        assert parts(first) != parts(other)

    def test_every_picture_is_in_one_part(self) -> None:
        source = emoji_source()
        assert Counter(parts(divide(source, 0))) == Counter(source.examples)

    def test_novel_classes_are_in_the_pool_and_never_trained_on(self) -> None:
        dataset = divide(emoji_source(), 0)
        assert dataset.novel == ("bug", "building", "clock", "flower", "moon", "shoe")
        assert not {one.category for one in dataset.train} & set(dataset.novel)
        assert {one.category for one in dataset.known_test} == set(dataset.known)
        for name in dataset.novel:
            assert len(dataset.unseen(name)) >= 5
            assert sum(one.category == name for one in dataset.pool) >= 5

    def test_the_pool_mixes_its_classes(self) -> None:
        pool = [one.category for one in divide(emoji_source(), 0).pool]
        assert pool != sorted(pool)
        assert len(set(pool[:20])) > 3

    def test_shares_of_a_known_class(self) -> None:
        dataset = divide(source_of({"a": 50, "b": 10, "c": 10}, {"c"}), 0)
        assert Counter(one.category for one in dataset.train) == {"a": 30, "b": 6}
        assert Counter(one.category for one in dataset.known_test) == {"a": 10, "b": 2}
        assert Counter(one.category for one in dataset.pool) == {"a": 10, "b": 2, "c": 5}
        assert dataset.few_shot == {"b"}

    def test_a_class_with_one_picture_is_trained_on(self) -> None:
        dataset = divide(source_of({"a": 5, "b": 1, "c": 1}, {"c"}), 0)
        assert "b" in dataset.known
        assert dataset.unseen("c") == ()

    def test_a_test_split_of_its_own_is_kept(self) -> None:
        listed = source_of({"a": 20, "b": 20, "c": 20}, {"c"}, "train").examples
        test = tuple(Example(f"test/{one.path}", one.category, "test") for one in listed[::2])
        source = Source("made", listed + test, lambda path: path.encode(), frozenset({"c"}))
        for seed in (0, 1):
            dataset = divide(source, seed)
            assert {*dataset.known_test, *dataset.novel_test} == set(test)
            assert Counter(one.category for one in dataset.train) == {"a": 17, "b": 17}
            assert Counter(one.category for one in dataset.pool) == {"a": 3, "b": 3, "c": 20}

    def test_two_classes_are_too_few(self) -> None:
        with pytest.raises(DemoError, match="made has 2 classes; at least 3 are needed"):
            divide(source_of({"a": 5, "b": 5}, {"b"}), 0)


@pytest.mark.skipif(not GROCERY.exists(), reason="needs ../shared/data/grocery-store.zip")
class TestGroceryStore:
    def test_sixteen_of_eighty_one_classes_are_held_back(self) -> None:
        dataset = divide(open_source(GROCERY), 0)
        assert (len(dataset.known), len(dataset.novel)) == (65, 16)
        assert all(one.split == "test" for one in (*dataset.known_test, *dataset.novel_test))

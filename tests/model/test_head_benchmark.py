"""The protocol of ``benchmarks/head.py``: who is known, who is new; nothing is tested on what was learnt."""

import hashlib

import numpy as np
import pytest

from benchmarks.head import DataSet, last_by_digest, long_tail, roles_of, table


def data_set(*, with_split: bool) -> DataSet:
    labels = np.array([f"class-{k}" for k in range(10) for _ in range(20)])
    splits = np.array((["train"] * 12 + ["val"] * 2 + ["test"] * 6) * 10 if with_split else [""] * 200)
    return DataSet("toy", np.zeros((200, 4), np.float32), labels, splits, ["class-3", "class-8"])


class TestProtocol:
    def test_new_classes_are_a_fifth_by_digest(self) -> None:
        labels = [f"class-{k}" for k in range(10)]
        chosen = last_by_digest(labels)
        assert len(chosen) == 2
        largest = max(labels, key=lambda label: hashlib.sha1(label.encode()).hexdigest())
        assert chosen[-1] == largest

    @pytest.mark.parametrize("with_split", [True, False])
    def test_no_image_has_two_roles(self, with_split: bool) -> None:
        data = data_set(with_split=with_split)
        roles = roles_of(data, None, np.random.default_rng(0))
        rows = np.concatenate([roles.train, roles.test, roles.new_pool, roles.new_test])
        assert len(set(rows.tolist())) == len(rows)
        assert set(data.labels[np.concatenate([roles.new_pool, roles.new_test])]) == set(data.new)
        assert not set(data.labels[np.concatenate([roles.train, roles.test])]) & set(data.new)

    def test_a_split_of_its_own_is_kept(self) -> None:
        data = data_set(with_split=True)
        roles = roles_of(data, None, np.random.default_rng(0))
        assert set(data.splits[roles.train]) == {"train"}
        assert set(data.splits[roles.test]) == {"test"}

    def test_validation_sees_neither_new_classes_nor_test_images(self) -> None:
        data = data_set(with_split=True)
        inner = data.validation()
        assert not set(inner.labels) & set(data.new)
        assert len(inner.x) == 8 * 14
        assert set(inner.new) < set(inner.labels)

    def test_a_long_tail_falls_from_head_to_last(self) -> None:
        labels = np.repeat([f"class-{k}" for k in range(5)], 20)
        kept = long_tail(np.arange(100), labels, (16, 1), np.random.default_rng(0))
        counts = sorted(np.unique(labels[kept], return_counts=True)[1].tolist())
        assert counts == [1, 2, 4, 8, 16]

    def test_the_table_gives_mean_and_spread(self) -> None:
        text = table("Toy", [{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": float("nan")}])
        assert "| a | 2.0 ± 1.0 |" in text
        assert "| b |" not in text

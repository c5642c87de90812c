"""Class rows from labels: exact, in any order, any number of times, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.arrays import F32, unit
from model.hallucination import ClassRow, hallucinate, update, usual_limit
from model.memory import ClassMemory

DIM = 12
NONE = np.zeros((0, DIM), np.float32)


def vectors(count: int, seed: int = 0) -> F32:
    return unit(np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32))


def trained(v: F32) -> ClassRow:
    """A class as training leaves it: the exact mean, a weight and a hallucinator of its own."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, DIM)).astype(np.float32)
    return ClassRow(v.mean(0), unit(v.mean(0) + 0.1 * noise[0]), noise[1], len(v))


def assert_same(found: ClassRow | None, expected: ClassRow | None) -> None:
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.count == expected.count
        for name in ("centroid", "weight", "hallucinator"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)


class TestNewClass:
    def test_is_the_uniform_mean(self) -> None:
        v = vectors(5)
        row = hallucinate(v)
        np.testing.assert_allclose(row.centroid, v.mean(0), atol=1e-6)
        np.testing.assert_allclose(row.weight, v.mean(0) / np.linalg.norm(v.mean(0)), atol=1e-6)
        assert row.count == 5

    def test_one_image_is_enough(self) -> None:
        v = vectors(1)
        np.testing.assert_allclose(hallucinate(v).weight, v[0], atol=1e-6)

    def test_no_image_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="at least one labelled image"):
            hallucinate(NONE)

    def test_energy_weights_follow_the_softmax(self) -> None:
        v, energies = vectors(3), np.array([0.1, 0.3, 0.2], np.float32)
        share = np.exp(energies / 0.2) / np.exp(energies / 0.2).sum()
        row = hallucinate(v, energies=energies, temperature=0.2)
        np.testing.assert_allclose(row.centroid, share @ v, atol=1e-6)

    def test_equal_energies_are_the_uniform_mean(self) -> None:
        v = vectors(4)
        assert_same(hallucinate(v, energies=np.full(4, 0.7, np.float32)), hallucinate(v))

    def test_images_that_cancel_out_stay_finite(self) -> None:
        v = vectors(1)
        row = hallucinate(np.concatenate([v, -v]))
        assert np.isfinite(row.weight).all()


class TestUpdate:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 6), st.integers(0, 6), st.data())
    def test_equals_the_mean_over_all_images_at_once(
        self, base_count: int, added: int, data: st.DataObject
    ) -> None:
        withdrawn = data.draw(st.integers(0, base_count))
        images = vectors(base_count + added + 1, seed=base_count * 7 + added)
        base_images, new = images[:base_count], images[base_count : base_count + added]
        base = trained(base_images) if base_count else None
        row = update(base, new, base_images[:withdrawn])
        left = np.concatenate([base_images[withdrawn:], new])
        if len(left) == 0:
            assert row is None
        else:
            assert row is not None
            assert row.count == len(left)
            np.testing.assert_allclose(row.centroid, left.mean(0), atol=1e-5)

    @settings(max_examples=40, deadline=None)
    @given(st.permutations(range(6)))
    def test_order_of_labels_does_not_matter(self, order: list[int]) -> None:
        new = vectors(6)
        base = trained(vectors(4, seed=9))
        assert_same(update(base, new[order], NONE), update(base, new, NONE))

    def test_a_new_class_updated_is_a_class_hallucinated(self) -> None:
        v = vectors(4)
        assert_same(update(None, v, NONE), hallucinate(v))

    def test_nothing_changed_gives_the_trained_class_back(self) -> None:
        base = trained(vectors(5))
        assert_same(update(base, NONE, NONE), base)

    def test_a_label_taken_back_leaves_no_trace(self) -> None:
        images = vectors(5)
        base = trained(images)
        assert_same(update(base, images[:2], images[:2]), base)

    def test_weight_moves_toward_new_images_by_their_number(self) -> None:
        images, new = vectors(10), vectors(3, seed=4)
        base = trained(images)
        row = update(base, new, NONE)
        assert row is not None
        expected = base.weight * np.linalg.norm(base.centroid) * 10 + new.sum(0)
        np.testing.assert_allclose(row.weight, expected / np.linalg.norm(expected), atol=1e-5)

    def test_withdrawing_from_an_untrained_class_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="trained on"):
            update(None, vectors(2), vectors(1))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=8))
    def test_merging_two_new_classes_equals_labelling_as_one(self, names: list[str]) -> None:
        v = vectors(len(names))
        parts = [v[[name == wanted for name in names]] for wanted in ("a", "b")]
        assert_same(update(None, np.concatenate(parts), NONE), hallucinate(v))


class TestMemory:
    def memory(self) -> ClassMemory:
        rows = {name: hallucinate(vectors(3, seed=n)) for n, name in enumerate("abc")}
        return ClassMemory.of(rows, dict.fromkeys("abc", 1.0), DIM)

    def test_replacing_keeps_the_other_rows(self) -> None:
        before = self.memory()
        row = hallucinate(vectors(7, seed=11))
        after = before.replaced("b", row, 0.8)
        assert after.categories == ("a", "b", "c")
        assert_same(after.find("b"), row)
        assert_same(after.find("a"), before.find("a"))
        assert after.limits.tolist() == pytest.approx([1.0, 0.8, 1.0])
        assert before.counts.tolist() == [3, 3, 3]

    def test_a_new_category_comes_last_and_a_removed_one_goes(self) -> None:
        after = self.memory().replaced("d", hallucinate(vectors(1)), 1.2)
        assert after.categories == ("a", "b", "c", "d")
        assert after.replaced("a", None).categories == ("b", "c", "d")
        assert after.replaced("x", None).categories == after.categories

    def test_one_row_per_category(self) -> None:
        memory = self.memory()
        with pytest.raises(ValueError, match="one row per category"):
            ClassMemory(
                ("a",), memory.centroids, memory.weights, memory.hallucinators, memory.counts, memory.limits
            )
        with pytest.raises(ValueError, match="one row in a class memory"):
            memory.reordered([0, 0])


class TestUsualLimit:
    def test_a_mean_of_few_images_has_a_wider_limit(self) -> None:
        limits = [usual_limit(0.8, count) for count in (1, 2, 10, 1000)]
        assert limits == sorted(limits, reverse=True)
        assert limits[0] == pytest.approx(0.8 * np.sqrt(2))
        assert limits[-1] == pytest.approx(0.8, abs=0.001)

    def test_few_distances_are_not_believed(self) -> None:
        assert usual_limit(0.8, 10, np.full(19, 0.1, np.float32)) == usual_limit(0.8, 10)

    def test_many_distances_are_believed_more_and_more(self) -> None:
        some, many = (usual_limit(0.8, 100, np.full(n, 0.4, np.float32)) for n in (20, 2000))
        assert 0.4 < many < some < usual_limit(0.8, 100)

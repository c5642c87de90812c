"""Inference: the head's formulas against slow references, any number of classes, save and load."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from model.arrays import F32, unit
from model.memory import ClassMemory
from model.recogniser import CheckpointError, Predictions, Recogniser, softmax, top

FEATURES = 40
DIM = 40


def features(images: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).random((images, FEATURES)).astype(np.float32)


def none() -> F32:
    return np.zeros((0, DIM), np.float32)


@pytest.fixture
def untrained() -> Recogniser:
    return Recogniser.untrained(features(30))


@pytest.fixture
def recogniser(untrained: Recogniser) -> Recogniser:
    """As after training, with every part of its own: 6 classes, a selector that acts, a score."""
    rng = np.random.default_rng(3)
    memory = untrained.base
    for k in range(6):
        memory = untrained.revise(memory, f"class-{k}", untrained.embed(features(4 + k, seed=k)), none())
    noise = rng.standard_normal((6, DIM)).astype(np.float32)
    return dataclasses.replace(
        untrained,
        base=dataclasses.replace(memory, weights=unit(memory.weights + 0.1 * noise), hallucinators=noise),
        selector_weight=rng.standard_normal((DIM, DIM)).astype(np.float32),
        selector_bias=rng.standard_normal(DIM).astype(np.float32),
        gamma0=0.7,
        scale=14.0,
    )


def assert_finite(found: Predictions) -> None:
    for field in dataclasses.fields(found):
        assert np.isfinite(getattr(found, field.name)).all(), field.name


class TestFormulas:
    def slow_probabilities(self, recogniser: Recogniser, v: F32) -> np.ndarray:
        """Eq. 2–5 and 10, image by image and class by class, with the naive B×K×D product."""
        memory = recogniser.base
        rows = []
        for image in v.astype(np.float64):
            coefficients = np.exp(memory.hallucinators @ image)
            coefficients /= coefficients.sum()
            concept = sum(
                coefficients[k] * memory.centroids[k].astype(np.float64) for k in range(len(memory))
            )
            selector = np.tanh(recogniser.selector_weight @ image + recogniser.selector_bias)
            infused = image + selector * concept
            cosine = memory.weights @ infused / np.linalg.norm(infused)
            gamma = min(np.linalg.norm(image - centre) for centre in memory.centroids)
            n = recogniser.gamma0 / max(gamma, 0.1 * recogniser.gamma0)
            logits = recogniser.scale * 2 * n**2 / (1 + n**2) * cosine
            rows.append(np.exp(logits) / np.exp(logits).sum())
        return np.array(rows)

    def test_probabilities_equal_the_slow_reference(self, recogniser: Recogniser) -> None:
        v = recogniser.embed(features(25, seed=8))
        found = recogniser.predict(v, recogniser.base)
        expected = self.slow_probabilities(recogniser, v)
        np.testing.assert_array_equal(found.order, np.argsort(-expected, axis=1)[:, :5])
        np.testing.assert_allclose(found.probabilities, -np.sort(-expected, axis=1)[:, :5], atol=1e-4)

    def test_distances_are_those_to_the_centroids(self, recogniser: Recogniser) -> None:
        v = recogniser.embed(features(25, seed=8))
        found = recogniser.predict(v, recogniser.base)
        naive = np.linalg.norm(v[:, None, :] - recogniser.base.centroids[None], axis=2)
        np.testing.assert_array_equal(found.nearest, np.argsort(naive, axis=1)[:, :5])
        np.testing.assert_allclose(found.distances, np.sort(naive, axis=1)[:, :5], atol=1e-4)
        np.testing.assert_allclose(found.openness, naive.min(1), atol=1e-4)

    def test_order_of_classes_does_not_matter(self, recogniser: Recogniser) -> None:
        v = recogniser.embed(features(25, seed=8))
        turned = recogniser.base.reordered([3, 5, 0, 1, 4, 2])
        first, second = recogniser.predict(v, recogniser.base), recogniser.predict(v, turned)
        names = np.array(recogniser.base.categories), np.array(turned.categories)
        np.testing.assert_array_equal(names[0][first.order], names[1][second.order])
        np.testing.assert_allclose(first.free_energy, second.free_energy, atol=1e-5)
        np.testing.assert_allclose(first.unknown_score, second.unknown_score, atol=1e-5)

    def test_chunks_give_what_the_whole_gives(self, recogniser: Recogniser) -> None:
        v = recogniser.embed(features(20, seed=8))
        whole = recogniser.predict(v, recogniser.base)
        part = recogniser.predict(v[5:9], recogniser.base)
        np.testing.assert_allclose(part.probabilities, whole.probabilities[5:9], atol=1e-5)
        np.testing.assert_allclose(part.unknown_score, whole.unknown_score[5:9], atol=1e-5)


class TestReachability:
    def test_is_1_at_the_usual_distance_and_bounded(self, recogniser: Recogniser) -> None:
        gamma = np.array([0.0, 0.01, 0.7, 2.0], np.float32)
        for squash in ("paper", "code"):
            certainty = dataclasses.replace(recogniser, squash=squash).certainty(gamma)
            assert certainty[2] == pytest.approx(1)
            assert (np.diff(certainty) <= 0).all()
            assert ((certainty > 0) & (certainty < 2)).all()

    def test_the_papers_squash_is_the_sharper(self, recogniser: Recogniser) -> None:
        far = np.array([1.9], np.float32)
        code = dataclasses.replace(recogniser, squash="code")
        assert recogniser.certainty(far)[0] < code.certainty(far)[0]

    def test_changes_no_arg_max(self, recogniser: Recogniser) -> None:
        v = recogniser.embed(features(30, seed=8))
        near, far = (
            recogniser.logits(v, recogniser.base, np.full(30, gamma, np.float32)) for gamma in (0.1, 1.9)
        )
        np.testing.assert_array_equal(near.argmax(1), far.argmax(1))
        assert np.ptp(far, axis=1).max() < np.ptp(near, axis=1).min() * 2

    def test_an_image_on_a_centroid_is_finite(self, recogniser: Recogniser) -> None:
        assert_finite(recogniser.predict(recogniser.base.centroids.copy(), recogniser.base))


class TestNumberOfClasses:
    def test_without_classes_everything_is_new(self, untrained: Recogniser) -> None:
        found = untrained.predict(untrained.embed(features(7, seed=1)), untrained.base)
        assert found.order.shape == found.probabilities.shape == found.nearest.shape == (7, 0)
        assert not found.is_known.any()
        assert found.openness.tolist() == [2] * 7
        assert found.informativeness.tolist() == [1] * 7
        assert (found.unknown_score >= 0.5).all()
        assert_finite(found)

    def test_nothing_with_classes_has_more_energy_than_without(self, untrained: Recogniser) -> None:
        v = untrained.embed(features(7, seed=1))
        memory = untrained.revise(untrained.base, "a", v[:1], none())
        with_class, without = untrained.predict(v, memory), untrained.predict(v, untrained.base)
        assert with_class.free_energy.max() <= without.free_energy.min()

    def test_one_class_is_not_certain_of_everything(self, untrained: Recogniser) -> None:
        v = untrained.embed(features(30))
        memory = untrained.revise(untrained.base, "a", v[:1], none())
        found = untrained.predict(np.concatenate([v[:1], -v[:1], v[1:]]), memory)
        assert found.order.shape == (31, 1)
        assert found.is_known[0]
        assert not found.is_known[1]
        assert not found.is_known.all()
        assert_finite(found)

    @pytest.mark.parametrize("classes", [2, 4, 5, 9])
    def test_lists_at_most_five(self, untrained: Recogniser, classes: int) -> None:
        v = untrained.embed(features(classes, seed=2))
        memory = untrained.base
        for k in range(classes):
            memory = untrained.revise(memory, str(k), v[k : k + 1], none())
        found = untrained.predict(v, memory)
        assert found.order.shape == (classes, min(classes, 5))
        assert found.order[:, 0].tolist() == list(range(classes))

    def test_no_images(self, recogniser: Recogniser) -> None:
        found = recogniser.predict(none(), recogniser.base)
        assert found.order.shape == (0, 5)
        assert len(found.is_known) == 0


class TestUnknownScore:
    def test_one_half_is_the_cut(self, recogniser: Recogniser) -> None:
        found = recogniser.predict(recogniser.embed(features(40, seed=8)), recogniser.base)
        np.testing.assert_array_equal(found.is_known, found.unknown_score < 0.5)

    def test_falls_for_images_of_a_class_that_is_added(self, recogniser: Recogniser) -> None:
        image = recogniser.embed(features(1, seed=8))
        others = recogniser.embed(features(30, seed=9))
        after = recogniser.revise(recogniser.base, "new", image, none())
        before_score = recogniser.predict(image, recogniser.base).unknown_score
        assert recogniser.predict(image, after).unknown_score[0] < before_score[0] / 2
        rise = (
            recogniser.predict(others, after).unknown_score
            - recogniser.predict(others, recogniser.base).unknown_score
        )
        assert (rise <= 0).all()

    def test_a_mean_of_few_labels_gets_an_allowance(self, recogniser: Recogniser) -> None:
        """The same centroid from one image reaches farther than from a hundred."""
        image = recogniser.embed(features(1, seed=8))
        others = recogniser.embed(features(30, seed=9))
        few = recogniser.revise(ClassMemory.empty(DIM), "new", image, none())
        many = recogniser.revise(ClassMemory.empty(DIM), "new", np.repeat(image, 100, axis=0), none())
        reach = recogniser.predict(others, few).unknown_score, recogniser.predict(others, many).unknown_score
        assert (reach[0] < reach[1]).all()


class TestRevise:
    def test_a_new_class_is_answered_at_once(self, recogniser: Recogniser) -> None:
        image = recogniser.embed(features(1, seed=8))
        memory = recogniser.revise(recogniser.base, "new", image, none())
        assert memory.categories[recogniser.predict(image, memory).order[0, 0]] == "new"

    def test_a_repeat_changes_nothing(self, recogniser: Recogniser) -> None:
        image = recogniser.embed(features(2, seed=8))
        once = recogniser.revise(recogniser.base, "class-1", image, none())
        twice = recogniser.revise(once, "class-1", image, none())
        np.testing.assert_array_equal(once.centroids, twice.centroids)
        np.testing.assert_array_equal(once.counts, twice.counts)

    def test_taking_every_label_back_restores_the_trained_memory(self, recogniser: Recogniser) -> None:
        image = recogniser.embed(features(2, seed=8))
        memory = recogniser.revise(recogniser.base, "class-1", image, none())
        memory = recogniser.revise(memory, "new", image, none())
        memory = recogniser.revise(memory, "class-1", none(), none())
        memory = recogniser.revise(memory, "new", none(), none())
        assert memory.categories == recogniser.base.categories
        np.testing.assert_allclose(memory.centroids, recogniser.base.centroids, atol=1e-6)
        np.testing.assert_allclose(memory.weights, recogniser.base.weights, atol=1e-6)


class TestStoring:
    def test_load_gives_what_was_saved(self, recogniser: Recogniser, tmp_path: Path) -> None:
        recogniser.save(tmp_path / "version")
        again = Recogniser.load(tmp_path / "version")
        v = recogniser.embed(features(9, seed=8))
        np.testing.assert_array_equal(again.embed(features(9, seed=8)), v)
        first, second = recogniser.predict(v, recogniser.base), again.predict(v, again.base)
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
        assert (again.gamma0, again.limit, again.threshold) == (
            recogniser.gamma0,
            recogniser.limit,
            recogniser.threshold,
        )
        np.testing.assert_array_equal(again.base.counts, recogniser.base.counts)
        np.testing.assert_array_equal(again.base.limits, recogniser.base.limits)

    def test_untrained_can_be_stored(self, untrained: Recogniser, tmp_path: Path) -> None:
        untrained.save(tmp_path)
        assert isinstance(Recogniser.load(tmp_path).base, ClassMemory)

    def test_damage_is_noticed(self, recogniser: Recogniser, tmp_path: Path) -> None:
        recogniser.save(tmp_path)
        tensors = tmp_path / "recogniser.safetensors"
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            Recogniser.load(tmp_path)

    def test_another_format_is_named(self, recogniser: Recogniser, tmp_path: Path) -> None:
        recogniser.save(tmp_path)
        description = tmp_path / "recogniser.json"
        description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 99}))
        with pytest.raises(CheckpointError, match="format 99"):
            Recogniser.load(tmp_path)

    @pytest.mark.parametrize("content", [None, "", "[]", "{"])
    def test_an_unreadable_folder_is_named(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "recogniser.json").write_text(content)
            (tmp_path / "recogniser.safetensors").write_bytes(b"")
        with pytest.raises(CheckpointError, match=tmp_path.name):
            Recogniser.load(tmp_path)

    def test_no_pickle_is_written(self, recogniser: Recogniser, tmp_path: Path) -> None:
        recogniser.save(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "recogniser.json",
            "recogniser.safetensors",
        ]


class TestParts:
    def test_softmax_is_safe_for_large_logits(self) -> None:
        np.testing.assert_allclose(
            softmax(np.array([[1e4, 0.0], [-1e4, -1e4]], np.float32)), [[1, 0], [0.5, 0.5]]
        )

    @pytest.mark.parametrize("k", [1, 3, 5, 8])
    def test_top_equals_a_full_sort(self, k: int) -> None:
        values = np.random.default_rng(0).random((20, 6)).astype(np.float32)
        np.testing.assert_array_equal(top(values, k), np.argsort(values, axis=1)[:, :k])

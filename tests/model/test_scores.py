"""Open-set scores: one contract over the registry, each formula against a slow reference, the cut."""

import numpy as np
import pytest

from model.arrays import F32, I64, unit
from model.hallucination import hallucinate
from model.memory import ClassMemory
from model.scores import SCORES, Threshold, calibrate, known_by_probability
from model.space import pooled_covariance

DIM = 12


def mixture(images: int = 90, classes: int = 3, seed: int = 0) -> tuple[F32, I64]:
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    return unit((np.eye(DIM)[labels] + 0.2 * rng.standard_normal((images, DIM))).astype(np.float32)), labels


def memory(v: F32, labels: I64) -> ClassMemory:
    rows = {str(k): hallucinate(v[labels == k]) for k in np.unique(labels)}
    return ClassMemory.of(rows, dict.fromkeys(rows, 1.0), DIM)


@pytest.mark.parametrize("name", sorted(SCORES))
class TestEveryScore:
    def test_is_higher_for_unknown_images(self, name: str) -> None:
        v, labels = mixture()
        unknown = unit(np.eye(DIM, dtype=np.float32)[5:8])
        score = SCORES[name]().fit(v, labels)
        classes = memory(v, labels)
        assert score.score(unknown, classes).min() > np.quantile(score.score(v, classes), 0.95)

    def test_falls_once_the_class_is_added(self, name: str) -> None:
        v, labels = mixture()
        score = SCORES[name]().fit(v, labels)
        image = unit(np.eye(DIM, dtype=np.float32)[5:6] + 0.05)
        before = memory(v, labels)
        after = before.replaced("new", hallucinate(image), 1.0)
        assert score.score(image, after)[0] < score.score(image, before)[0]

    def test_gaps_are_distances_to_each_class(self, name: str) -> None:
        v, labels = mixture()
        score = SCORES[name]().fit(v, labels)
        gaps = score.gaps(v, memory(v, labels))
        assert gaps.shape == (90, 3)
        assert (gaps >= 0).all()
        np.testing.assert_array_equal(score.score(v, memory(v, labels)), gaps.min(1))

    def test_is_the_same_after_storing(self, name: str) -> None:
        v, labels = mixture()
        score = SCORES[name]().fit(v, labels)
        again = SCORES[name].restore(score.arrays())
        np.testing.assert_array_equal(again.score(v, memory(v, labels)), score.score(v, memory(v, labels)))

    def test_order_of_classes_does_not_matter(self, name: str) -> None:
        v, labels = mixture()
        score = SCORES[name]().fit(v, labels)
        classes = memory(v, labels)
        turned = classes.reordered([2, 0, 1])
        np.testing.assert_allclose(score.score(v, turned), score.score(v, classes), atol=1e-6)

    def test_one_class_of_one_image_works(self, name: str) -> None:
        v, labels = mixture(1, 1)
        score = SCORES[name]().fit(v, labels)
        assert np.isfinite(score.score(mixture(9)[0], memory(v, labels))).all()


class TestFormulas:
    def test_reachability(self) -> None:
        v, labels = mixture()
        classes = memory(v, labels)
        expected = [min(float(np.linalg.norm(row - centre)) for centre in classes.centroids) for row in v]
        np.testing.assert_allclose(SCORES["reachability"]().score(v, classes), expected, atol=1e-5)

    def test_max_cosine(self) -> None:
        v, labels = mixture()
        classes = memory(v, labels)
        cosines = [max(float(row @ c / np.linalg.norm(c)) for c in classes.centroids) for row in v]
        found = SCORES["max_cosine"]().score(v, classes)
        np.testing.assert_allclose(found, np.sqrt(2 - 2 * np.array(cosines)), atol=1e-3)

    def test_mahalanobis(self) -> None:
        v, labels = mixture()
        classes = memory(v, labels)
        covariance = pooled_covariance(v, labels)
        variance = np.trace(covariance) / DIM
        inverse = np.linalg.inv((covariance / variance + np.eye(DIM)) / 2)
        expected = [min(np.sqrt((row - c) @ inverse @ (row - c)) for c in classes.centroids) for row in v]
        np.testing.assert_allclose(
            SCORES["mahalanobis"]().fit(v, labels).score(v, classes), expected, atol=1e-4
        )

    def test_mahalanobis_before_fitting_says_so(self) -> None:
        v, labels = mixture()
        with pytest.raises(ValueError, match="Fit"):
            SCORES["mahalanobis"]().score(v, memory(v, labels))


class TestThreshold:
    def test_accepts_the_share_that_was_asked_for(self) -> None:
        held_out = np.random.default_rng(0).random(1000).astype(np.float32)
        threshold = calibrate("reachability", held_out, accepted=0.9)
        assert (threshold.normalise(held_out) < 0.5).mean() == pytest.approx(0.9, abs=0.002)
        assert threshold.rule == "90% of 1000 held-out known images accepted"

    def test_normalised_scores_keep_their_order_and_cut_at_one_half(self) -> None:
        threshold = Threshold("reachability", 0.8, 0.1, "by hand")
        raw = np.array([0.0, 0.5, 0.8, 0.9, 5.0], np.float32)
        found = threshold.normalise(raw)
        assert (np.diff(found) > 0).all()
        assert found[2] == pytest.approx(0.5)
        assert 0 < found[0] < found[-1] <= 1

    def test_one_held_out_image_is_enough(self) -> None:
        threshold = calibrate("reachability", np.array([0.7], np.float32))
        assert np.isfinite(threshold.normalise(np.array([0.6, 0.8], np.float32))).all()


class TestProbabilityMode:
    def test_accepts_from_tau_up(self) -> None:
        known = known_by_probability(np.array([0.2, 0.5, 0.6], np.float32), 0.5, classes=10)
        assert known.tolist() == [False, True, True]

    @pytest.mark.parametrize(("tau", "classes"), [(0.1, 10), (0.1, 3), (0.5, 2)])
    def test_warns_of_a_cut_that_rejects_nothing(self, tau: float, classes: int) -> None:
        with pytest.warns(UserWarning, match="rejects nothing"):
            known_by_probability(np.ones(1, np.float32), tau, classes)

    def test_is_quiet_above_one_in_k(self) -> None:
        known_by_probability(np.ones(1, np.float32), 0.11, classes=10)

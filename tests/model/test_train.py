"""Training: small and odd inputs, determinism, cancelling, and the losses it stands on."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.arrays import F32
from model.calibration import calibrate_on, folds_of
from model.losses import log_prior, logit_adjusted_cross_entropy, weight_pull
from model.network import OLTRHead
from model.space import Space
from model.train import TrainConfig, TrainingStopped, augment, train_head

FEATURES = 48
# Enough to learn separable mixtures; the recipe's 800 steps are for photographs.
QUICK = TrainConfig(min_steps=60, epochs=1, dim=24)


def mixture(counts: list[int], seed: int = 0, noise: float = 0.25) -> tuple[F32, list[str]]:
    """Features of well separated classes, non-negative like a backbone's."""
    centres = np.random.default_rng(99).random((len(counts), FEATURES))
    rng = np.random.default_rng(seed)
    rows = [np.abs(centres[k] + noise * rng.standard_normal((n, FEATURES))) for k, n in enumerate(counts)]
    labels = [f"class-{k:02}" for k, n in enumerate(counts) for _ in range(n)]
    return np.concatenate(rows).astype(np.float32), labels


class TestTraining:
    def test_learns_a_long_tail(self) -> None:
        counts = [40, 20, 10, 5, 3, 1]
        recogniser = train_head(*mixture(counts), QUICK)
        x, labels = mixture([20] * 6, seed=1)
        found = recogniser.predict(recogniser.embed(x), recogniser.base)
        right = [recogniser.base.categories[k] for k in found.order[:, 0]] == np.array(labels)
        assert right.mean() > 0.9
        assert right[np.array(labels) == "class-05"].mean() > 0.6
        assert recogniser.base.counts.tolist() == counts

    @pytest.mark.parametrize("counts", [[1], [6], [1, 1], [6, 6, 1], [2, 1, 1, 1], [1] * 12, [3] * 11])
    def test_survives_small_sets(self, counts: list[int]) -> None:
        x, labels = mixture(counts)
        recogniser = train_head(x, labels, QUICK)
        found = recogniser.predict(recogniser.embed(np.concatenate([x, 0 * x[:1]])), recogniser.base)
        assert found.order.shape == (len(x) + 1, min(len(counts), 5))
        assert np.isfinite(found.probabilities).all()
        assert np.isfinite(found.unknown_score).all()
        assert np.isfinite(found.free_energy).all()

    def test_one_class_does_not_call_everything_known(self) -> None:
        x, labels = mixture([8, 8, 8])
        recogniser = train_head(x[:8], labels[:8], QUICK)
        known = recogniser.predict(recogniser.embed(x), recogniser.base).is_known
        assert known[:8].mean() > 0.7
        assert known[8:].mean() < 0.3

    def test_most_held_out_known_images_are_accepted_and_others_are_not(self) -> None:
        counts = [30] * 12
        x, labels = mixture(counts)
        kept = np.array(labels) < "class-10"
        recogniser = train_head(x[kept], [label for label in labels if label < "class-10"], QUICK)
        test, test_labels = mixture([30] * 12, seed=1)
        known = recogniser.predict(recogniser.embed(test), recogniser.base).is_known
        is_open = np.array(test_labels) >= "class-10"
        assert known[~is_open].mean() == pytest.approx(0.95, abs=0.05)
        assert known[is_open].mean() < 0.2

    def test_same_seed_gives_the_same_recogniser(self) -> None:
        x, labels = mixture([6, 4, 2])
        first, second = train_head(x, labels, QUICK), train_head(x, labels, QUICK)
        np.testing.assert_array_equal(first.base.weights, second.base.weights)
        np.testing.assert_array_equal(first.selector_weight, second.selector_weight)
        assert first.threshold == second.threshold

    def test_centroids_are_the_exact_means(self) -> None:
        x, labels = mixture([7, 3])
        recogniser = train_head(x, labels, QUICK)
        v = recogniser.embed(x)
        np.testing.assert_allclose(recogniser.base.centroids, [v[:7].mean(0), v[7:].mean(0)], atol=1e-6)

    def test_reports_progress_up_to_the_last_step(self) -> None:
        seen: list[tuple[int, int, float]] = []
        train_head(*mixture([4, 4]), QUICK, progress=lambda *report: seen.append(report))
        assert [step for step, _, _ in seen] == [20, 40, 60]
        assert {steps for _, steps, _ in seen} == {60}
        assert all(np.isfinite(loss) for _, _, loss in seen)

    def test_stops_when_told(self) -> None:
        seen = []

        def stop(step: int, steps: int, loss: float) -> None:
            seen.append(step)
            raise TrainingStopped

        with pytest.raises(TrainingStopped):
            train_head(*mixture([4, 4]), QUICK, progress=stop)
        assert seen == [20]

    def test_no_images_or_missing_labels_are_errors(self) -> None:
        x, labels = mixture([4])
        with pytest.raises(ValueError, match="0 and 0"):
            train_head(x[:0], [], QUICK)
        with pytest.raises(ValueError, match="4 and 3"):
            train_head(x, labels[:3], QUICK)

    def test_takes_at_least_800_steps_by_default(self) -> None:
        assert TrainConfig().steps(1) == 800
        assert TrainConfig().steps(10_000) == 30 * 10_000 // 128


class TestCalibration:
    def test_choice_needs_no_test_data_and_is_named(self) -> None:
        x, labels = mixture([5] * 12)
        index = np.unique(labels, return_inverse=True)[1]
        calibration = calibrate_on(x, index, Space.fit, seed=0)
        assert calibration.threshold.score in {"mahalanobis", "max_cosine", "reachability"}
        assert "60 held-out known images" in calibration.threshold.rule
        assert calibration.limits.shape == (12,)

    def test_single_images_are_never_held_out(self) -> None:
        labels = np.array([0, 0, 0, 1, 2, 2])
        folds = folds_of(labels, np.random.default_rng(0))
        assert folds[3] == -1
        for label in (0, 2):
            assert len(set(folds[labels == label].tolist())) == (labels == label).sum()

    def test_held_out_images_lie_farther_than_trained_ones(self) -> None:
        x, labels = mixture([10] * 4)
        index = np.unique(labels, return_inverse=True)[1]
        recogniser = train_head(x, labels, QUICK)
        own = np.linalg.norm(recogniser.embed(x) - recogniser.base.centroids[index], axis=1)
        assert calibrate_on(x, index, Space.fit, seed=0).gamma0 > np.median(own)


class TestLosses:
    def test_logit_adjustment_is_the_arg_max_shift_of_the_balanced_softmax(self) -> None:
        counts = torch.tensor([100.0, 10.0, 1.0])
        labels = torch.repeat_interleave(torch.arange(3), counts.long())
        logits = torch.randn(111, 3, generator=torch.Generator().manual_seed(0))
        balanced = counts * logits.exp() / (counts * logits.exp()).sum(1, keepdim=True)
        adjusted = logits + log_prior(labels, 3)
        torch.testing.assert_close(torch.softmax(adjusted, 1), balanced)
        assert (adjusted.argmax(1) == balanced.argmax(1)).all()
        expected = -balanced[torch.arange(111), labels].log().mean()
        torch.testing.assert_close(
            logit_adjusted_cross_entropy(logits, labels, log_prior(labels, 3), tau=1.0), expected
        )

    def test_pull_is_zero_at_the_means_and_two_at_their_opposite(self) -> None:
        memory = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        assert weight_pull(3 * memory, memory).item() == pytest.approx(0, abs=1e-6)
        assert weight_pull(-memory, memory).item() == pytest.approx(2, abs=1e-6)


class TestHead:
    def head(self) -> OLTRHead:
        memory = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
        return OLTRHead(memory, torch.Generator().manual_seed(1))

    def test_starts_as_the_nearest_class_mean(self) -> None:
        head = self.head()
        v = functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(2)), dim=1)
        cosines = v @ functional.normalize(head.memory, dim=1).T
        torch.testing.assert_close(head(v), 16 * cosines)

    def test_equals_the_numpy_head_after_training(self) -> None:
        x, labels = mixture([6, 4, 2])
        recogniser = train_head(x, labels, QUICK)
        base = recogniser.base
        head = OLTRHead(torch.from_numpy(base.centroids), torch.Generator())
        with torch.no_grad():
            head.weights.copy_(torch.from_numpy(base.weights))
            head.hallucinators.copy_(torch.from_numpy(base.hallucinators))
            head.selector_weight.copy_(torch.from_numpy(recogniser.selector_weight))
            head.selector_bias.copy_(torch.from_numpy(recogniser.selector_bias))
            head.scale.fill_(recogniser.scale)
            v = recogniser.embed(x)
            expected = head(torch.from_numpy(v)).numpy()
        usual = np.full(len(v), recogniser.gamma0, np.float32)
        np.testing.assert_allclose(recogniser.logits(v, base, usual), expected, atol=1e-3)

    def test_the_memory_is_not_a_parameter(self) -> None:
        """Weight decay or a gradient would let the means drift."""
        head = self.head()
        assert "memory" not in dict(head.named_parameters())
        optimiser = torch.optim.AdamW(head.parameters(), 0.1, weight_decay=0.5)
        before = head.memory.clone()
        for _ in range(5):
            optimiser.zero_grad()
            head(torch.ones(2, 8)).sum().backward()
            optimiser.step()
        torch.testing.assert_close(head.memory, before)

    def test_augmented_embeddings_are_unit_and_stay_without_variation(self) -> None:
        v = functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
        noisy = augment(v, 0.3 * v.flip(0), torch.Generator().manual_seed(1))
        torch.testing.assert_close(noisy.norm(dim=1), torch.ones(6))
        torch.testing.assert_close(augment(v, torch.zeros(3, 8), torch.Generator()), v)

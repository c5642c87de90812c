"""Openness, informativeness, free energy, and what every selection strategy keeps to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.arrays import F32, unit
from model.exploration import STRATEGIES, Pool, energy, estimate_open_share
from model.exploration.base import Gate
from model.exploration.frontier import MOST_CLUSTERED, admit, cluster, typicality
from model.scores import calibrate

DIM = 16


def gaps(images: int, classes: int, seed: int = 0) -> F32:
    return (np.random.default_rng(seed).random((images, classes)) * 1.9 + 0.05).astype(np.float32)


def pool(images: int, *, labelled: int = 0, open_share: float = 0.1, gate: Gate = "free_energy") -> Pool:
    rng = np.random.default_rng(images)
    v = unit(rng.standard_normal((images + labelled, DIM)).astype(np.float32))
    scores = [rng.random(images).astype(np.float32) for _ in range(3)]
    return Pool(v[:images], *scores, labelled=v[images:], open_share=open_share, gate=gate)


class TestOpenness:
    def test_is_the_distance_to_the_nearest_class(self) -> None:
        d = np.sort(gaps(9, 4), axis=1)
        np.testing.assert_array_equal(energy.openness(d), d[:, 0])

    def test_without_classes_is_the_diameter(self) -> None:
        assert energy.openness(gaps(3, 0)).tolist() == [2, 2, 2]


class TestInformativeness:
    def test_is_the_ratio_of_the_two_nearest(self) -> None:
        found = energy.informativeness(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32))
        np.testing.assert_allclose(found, [0.25, 1.0])

    @pytest.mark.parametrize("classes", [0, 1])
    def test_with_fewer_than_two_classes_is_1(self, classes: int) -> None:
        assert energy.informativeness(gaps(2, classes)).tolist() == [1, 1]

    def test_on_two_centroids_at_once_is_1(self) -> None:
        assert energy.informativeness(np.zeros((1, 2), np.float32)).tolist() == [1]


class TestFreeEnergy:
    def slow(self, distances: F32, temperature: float) -> np.ndarray:
        values = []
        for row in distances.astype(np.float64):
            ordered = sorted(row)
            informative = ordered[0] / ordered[1] if len(ordered) > 1 else 1.0
            values.append(informative * -temperature * np.log(sum(np.exp(-d / temperature) for d in row)))
        return np.array(values)

    @pytest.mark.parametrize("classes", [1, 2, 3, 40])
    @pytest.mark.parametrize("temperature", [0.02, 0.1, 0.5])
    def test_equals_the_formula(self, classes: int, temperature: float) -> None:
        d = gaps(30, classes)
        np.testing.assert_allclose(energy.free_energy(d, temperature), self.slow(d, temperature), atol=1e-4)

    def test_tends_to_openness_times_informativeness(self) -> None:
        d = np.sort(gaps(50, 6), axis=1)
        product = energy.openness(d) * energy.informativeness(d)
        np.testing.assert_allclose(energy.free_energy(d, 1e-4), product, atol=1e-3)

    def test_grows_with_distance(self) -> None:
        d = gaps(40, 5)
        assert (energy.free_energy(d + 0.1) > energy.free_energy(d)).all()

    @pytest.mark.parametrize("classes", [1, 2, 9])
    def test_without_classes_lies_above_everything(self, classes: int) -> None:
        farthest = np.full((1, classes), 2.0, np.float32)
        assert energy.free_energy(gaps(1, 0))[0] >= energy.free_energy(farthest)[0]

    def test_on_a_centroid_is_finite(self) -> None:
        assert np.isfinite(energy.free_energy(np.zeros((2, 3), np.float32))).all()

    def test_does_not_depend_on_the_order_of_classes(self) -> None:
        d = gaps(20, 7)
        np.testing.assert_allclose(energy.free_energy(d[:, ::-1]), energy.free_energy(d), atol=1e-6)


class TestEquation9AsPrinted:
    @pytest.mark.parametrize("classes", [1, 2, 30])
    def test_is_the_product_with_the_wrong_sign_and_a_constant(self, classes: int) -> None:
        d = np.sort(gaps(40, classes), axis=1)
        product = energy.openness(d) * energy.informativeness(d)
        # As printed: the summand does not depend on i.
        printed = -0.05 * np.log(np.exp(product[:, None] / 0.05).repeat(classes, 1).sum(1))
        np.testing.assert_allclose(energy.eq9_literal(d, 0.05), printed, atol=1e-4)
        np.testing.assert_allclose(
            energy.eq9_literal(d, 0.05) + product + 0.05 * np.log(classes), 0, atol=1e-5
        )

    def test_ranks_the_most_open_image_last(self) -> None:
        d = np.array([[0.2, 1.0], [1.3, 1.4]], np.float32)
        assert energy.eq9_literal(d).argmax() == 0
        assert energy.free_energy(d).argmax() == 1


class TestOpenShare:
    def scores(self, known: int, unknown: int) -> F32:
        """Scores of a calibrated threshold: half of the known lie below the middle known one."""
        threshold = calibrate("reachability", np.linspace(0, 1, 1001).astype(np.float32))
        raw = np.concatenate([np.linspace(0, 1, known), np.full(unknown, 1.2)])
        return threshold.normalise(raw.astype(np.float32))

    @pytest.mark.parametrize("unknown", [0, 100, 400, 1000])
    def test_finds_the_share(self, unknown: int) -> None:
        found = estimate_open_share(self.scores(1000, unknown))
        assert found == pytest.approx(unknown / (1000 + unknown), abs=0.01)

    def test_is_one_where_all_is_new_and_never_negative(self) -> None:
        assert estimate_open_share(self.scores(0, 50)) == 1
        assert estimate_open_share(np.zeros(10, np.float32)) == 0

    def test_is_0_for_an_empty_pool(self) -> None:
        assert estimate_open_share(np.zeros(0, np.float32)) == 0


@pytest.mark.parametrize("name", sorted(STRATEGIES))
class TestEveryStrategy:
    """The contract of the registry: a new strategy passes it or is not one."""

    @pytest.mark.parametrize(
        ("images", "budget", "labelled"),
        [(0, 5, 3), (1, 5, 0), (30, 10, 0), (30, 10, 4), (30, 30, 4), (30, 99, 0)],
    )
    def test_gives_as_many_different_images_as_it_can(
        self, name: str, images: int, budget: int, labelled: int
    ) -> None:
        chosen = STRATEGIES[name].select(pool(images, labelled=labelled), budget, np.random.default_rng(0))
        assert chosen.indices.dtype == np.int64
        assert len(set(chosen.indices.tolist())) == len(chosen.indices) == min(images, budget)
        assert all(0 <= index < images for index in chosen.indices)
        assert len(chosen.groups) == len(chosen.group_sizes) == len(chosen.indices)
        assert (chosen.group_sizes >= 1).all()

    def test_no_budget_chooses_nothing(self, name: str) -> None:
        assert len(STRATEGIES[name].select(pool(10), 0, np.random.default_rng(0)).indices) == 0

    @pytest.mark.parametrize("gate", ["free_energy", "openness", "unknown_score"])
    def test_same_seed_gives_the_same_choice(self, name: str, gate: Gate) -> None:
        first, second = (
            STRATEGIES[name].select(pool(50, labelled=3, gate=gate), 10, np.random.default_rng(7)).indices
            for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)

    def test_identical_images_are_no_trouble(self, name: str) -> None:
        same = pool(20)
        v = np.repeat(same.v[:1], 20, axis=0)
        alike = Pool(v, same.free_energy, same.openness, same.unknown_score, v[:2], 0.5)
        assert len(STRATEGIES[name].select(alike, 6, np.random.default_rng(0)).indices) == 6


class TestFreeEnergyStrategy:
    @pytest.mark.parametrize("gate", ["free_energy", "openness", "unknown_score"])
    def test_is_the_plain_order_of_the_gate(self, gate: Gate) -> None:
        images = pool(40, gate=gate)
        chosen = STRATEGIES["free_energy"].select(images, 12, np.random.default_rng(0)).indices
        np.testing.assert_array_equal(chosen, np.argsort(-getattr(images, gate))[:12])


class TestRandomStrategy:
    def test_differs_by_seed(self) -> None:
        first, second = (
            STRATEGIES["random"].select(pool(60), 20, np.random.default_rng(seed)) for seed in (1, 2)
        )
        assert first.indices.tolist() != second.indices.tolist()


class TestAdmission:
    def test_rare_open_images_let_the_gate_lead(self) -> None:
        images = pool(200, open_share=0.0)
        np.testing.assert_array_equal(admit(images, 10), np.argsort(-images.free_energy)[:30])

    def test_one_and_a_half_times_the_open_share_is_admitted(self) -> None:
        assert len(admit(pool(200, open_share=0.4), 10)) == 120

    def test_common_open_images_open_the_gate(self) -> None:
        assert len(admit(pool(200, open_share=0.41), 10)) == 200


class TestFrontier:
    def groups(self, sizes: list[int], spread: float = 0.15) -> tuple[F32, list[int]]:
        """Look-alike groups around orthogonal directions."""
        rng = np.random.default_rng(0)
        owner = [group for group, size in enumerate(sizes) for _ in range(size)]
        return unit(np.eye(DIM)[owner] + spread * rng.standard_normal((len(owner), DIM)) / 4).astype(
            np.float32
        ), owner

    def choose(self, v: F32, budget: int, labelled: F32) -> list[int]:
        flat = np.zeros(len(v), np.float32)
        images = Pool(v, flat, flat, flat, labelled, open_share=0.9)
        chosen = STRATEGIES["frontier"].select(images, budget, np.random.default_rng(0))
        return [int(index) for index in chosen.indices]

    def test_offers_one_image_of_each_group_the_largest_first(self) -> None:
        v, owner = self.groups([5, 30, 12])
        assert [owner[index] for index in self.choose(v, 3, v[:0])] == [1, 2, 0]

    def test_says_which_group_an_image_stands_for(self) -> None:
        v, _ = self.groups([5, 30, 12])
        flat = np.zeros(len(v), np.float32)
        chosen = STRATEGIES["frontier"].select(
            Pool(v, flat, flat, flat, v[:0], open_share=0.9), 3, np.random.default_rng(0)
        )
        assert chosen.group_sizes.tolist() == [30, 12, 5]
        assert len(set(chosen.groups.tolist())) == 3

    def test_a_labelled_group_is_offered_last(self) -> None:
        v, owner = self.groups([5, 30, 12])
        labelled = v[[owner.index(1)]]
        offered = [owner[index] for index in self.choose(v, 2, labelled)]
        assert sorted(offered) == [0, 2]

    def test_offers_the_most_typical_image_of_a_group(self) -> None:
        v, _ = self.groups([40])
        assert self.choose(v, 1, v[:0]) == [int(typicality(v).argmax())]

    def test_clusters_only_the_best_admitted(self) -> None:
        images = pool(MOST_CLUSTERED + 500, open_share=0.9)
        chosen = STRATEGIES["frontier"].select(images, 5, np.random.default_rng(0)).indices
        clustered = np.argsort(-images.free_energy)[:MOST_CLUSTERED]
        assert np.isin(chosen, clustered).all()


class TestCluster:
    def test_pinned_points_keep_their_place(self) -> None:
        v = unit(np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2]])
        found = cluster(v, 2, v[4:], np.random.default_rng(0))
        assert found[4] == 0
        assert 0 not in found[:4]

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5), st.integers(0, 99))
    def test_every_image_gets_a_group_that_exists(
        self, images: int, groups: int, pinned: int, seed: int
    ) -> None:
        points = pool(images, labelled=pinned)
        found = cluster(points.v, groups, points.labelled, np.random.default_rng(seed))
        assert found.shape == (images,)
        assert found.min() >= 0
        assert found.max() < pinned + groups


class TestTypicality:
    def test_equals_the_slow_mean_over_neighbours(self) -> None:
        v = pool(30).v
        expected = [
            np.sort([float(v[i] @ v[j]) for j in range(30) if j != i])[-20:].mean() for i in range(30)
        ]
        np.testing.assert_allclose(typicality(v), expected, atol=1e-5)

    def test_one_image_alone(self) -> None:
        assert typicality(pool(1).v).tolist() == [0]

"""The space of embeddings, against scikit-learn and direct linear algebra."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from model.arrays import unit
from model.space import Space, class_means, pooled_covariance, principal_directions, whitening_factor


def features(images: int, dim: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((images, dim)).astype(np.float32)


class TestSpace:
    @pytest.mark.parametrize("images", [1, 2, 5, 300])
    def test_gives_finite_unit_vectors_of_fixed_dimension(self, images: int) -> None:
        x = features(images)
        space = Space.fit(x, np.arange(images) % 3, dim=16)
        v = space.transform(np.concatenate([x, features(20, seed=1)]))
        assert v.shape == (images + 20, 16)
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, atol=1e-5)

    def test_zero_feature_is_finite(self) -> None:
        assert np.isfinite(Space.centred(features(5), dim=8).transform(np.zeros((1, 40), np.float32))).all()

    @pytest.mark.parametrize("value", [0.0, 0.7])
    def test_images_all_alike_are_no_trouble(self, value: float) -> None:
        alike = np.full((4, 40), value, np.float32)
        for labels in (np.zeros(4, np.int64), np.arange(4)):
            v = Space.fit(alike, labels, dim=8).transform(np.concatenate([alike, features(3)]))
            assert np.isfinite(v).all()
        assert np.isfinite(Space.centred(alike, dim=8).transform(features(3))).all()

    def test_without_images_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="at least one image"):
            Space.centred(features(0))

    def test_steps_are_those_of_the_recipe(self) -> None:
        x, labels = features(200), np.arange(200) % 4
        space = Space.fit(x, labels, dim=10)
        lengths = x / np.linalg.norm(x, axis=1, keepdims=True)
        origin = np.mean([lengths[labels == k].mean(0) for k in range(4)], axis=0) * 3 / 4
        projected = (lengths - origin) @ space.components
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        residuals = np.concatenate(
            [projected[labels == k] - projected[labels == k].mean(0) for k in range(4)]
        )
        covariance = residuals.T @ residuals / 196
        shrunk = covariance / 2 + np.trace(covariance) / 20 * np.eye(10)
        expected = projected @ np.linalg.cholesky(np.linalg.inv(shrunk))
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(space.transform(x), expected, atol=1e-4)

    def test_one_class_stays_apart_from_the_rest(self) -> None:
        """Moving the origin onto the only class would leave nothing that tells it from others."""
        rng = np.random.default_rng(0)
        kind = rng.random(40).astype(np.float32)
        same = kind + 0.1 * rng.random((12, 40)).astype(np.float32)
        other = features(12, seed=2)
        space = Space.fit(same[:6], np.zeros(6, np.int64), dim=16)
        mean = space.transform(same[:6]).mean(0)
        assert (space.transform(same[6:]) @ mean).min() > (space.transform(other) @ mean).max()

    def test_a_frequent_class_does_not_pull_the_origin(self) -> None:
        x = features(30)
        labels = np.arange(30) % 3
        doubled = np.concatenate([x, x[labels == 0]])
        first = Space.fit(x, labels, dim=8)
        second = Space.fit(doubled, np.concatenate([labels, np.zeros(10, np.int64)]), dim=8)
        np.testing.assert_allclose(first.mean, second.mean, atol=1e-6)


class TestPrincipalDirections:
    @pytest.mark.parametrize("images", [30, 200])
    def test_equal_those_of_sklearn_up_to_sign(self, images: int) -> None:
        x = features(images)
        x = x - x.mean(0)
        ours = principal_directions(x, 6)
        theirs = PCA(6).fit(x.astype(np.float64)).components_.T
        np.testing.assert_allclose(np.abs((ours * theirs).sum(0)), 1, atol=1e-4)

    @pytest.mark.parametrize("images", [1, 3, 100])
    def test_are_orthogonal_even_with_few_images(self, images: int) -> None:
        directions = principal_directions(features(images), 12)
        lengths = np.ones(12)
        if images < 12:
            lengths[images:] = (40 - images) / (12 - images)
        np.testing.assert_allclose(directions.T @ directions, np.diag(lengths), atol=1e-4)

    def test_keep_distances_on_average_where_few_images_span_little(self) -> None:
        directions = principal_directions(features(3), 12)
        difference = np.random.default_rng(1).standard_normal((500, 40))
        kept = np.square(difference @ directions).sum(1) / np.square(difference).sum(1)
        assert kept.mean() == pytest.approx(1, abs=0.1)


class TestCovariance:
    def test_class_means_are_exact(self) -> None:
        v, labels = features(50), np.arange(50) % 3
        means = class_means(v, labels, 4)
        for k in range(3):
            np.testing.assert_allclose(means[k], v[labels == k].mean(0), rtol=1e-5)
        assert (means[3] == 0).all()

    def test_factor_whitens(self) -> None:
        v, labels = unit(features(300)), np.arange(300) % 5
        covariance = pooled_covariance(v, labels)
        factor = whitening_factor(covariance, shrinkage=1e-6)
        scaled = factor.T @ covariance @ factor
        np.testing.assert_allclose(scaled, np.eye(40) * scaled[0, 0], atol=scaled[0, 0] * 0.01)

    def test_without_variance_nothing_is_whitened(self) -> None:
        np.testing.assert_array_equal(whitening_factor(np.zeros((3, 3))), np.eye(3))

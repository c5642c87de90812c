"""Measures against hand counts and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from model import metrics


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


class TestAccuracy:
    def test_counts_right_answers(self) -> None:
        assert metrics.accuracy(integers(0, 1, 2, 2), integers(0, 1, 2, 1)) == 0.75

    def test_macro_weighs_classes_alike(self) -> None:
        labels, predicted = integers(0, 0, 0, 1), integers(0, 0, 0, 0)
        assert metrics.macro_accuracy(predicted, labels) == 0.5
        assert metrics.macro_accuracy(predicted, labels) == balanced_accuracy_score(labels, predicted)

    def test_without_images_is_nan(self) -> None:
        assert np.isnan(metrics.accuracy(integers(), integers()))
        assert np.isnan(metrics.macro_accuracy(integers(), integers()))


class TestShotBins:
    COUNTS = integers(19, 20, 21, 99, 100, 101)

    def test_table_rule_takes_20_as_few_and_100_as_many(self) -> None:
        bins = metrics.shot_bins(self.COUNTS, "table")
        assert bins["few"].tolist() == [True, True, False, False, False, False]
        assert bins["many"].tolist() == [False, False, False, False, True, True]

    def test_text_rule_takes_both_as_medium(self) -> None:
        bins = metrics.shot_bins(self.COUNTS, "text")
        assert bins["few"].tolist() == [True, False, False, False, False, False]
        assert bins["medium"].tolist() == [False, True, True, True, True, False]

    @pytest.mark.parametrize("rule", ["table", "text"])
    def test_every_class_is_in_one_bin(self, rule: metrics.ShotRule) -> None:
        bins = metrics.shot_bins(self.COUNTS, rule)
        assert (sum(mask.astype(int) for mask in bins.values()) == 1).all()

    def test_accuracy_by_shot(self) -> None:
        labels, predicted = integers(0, 0, 1, 1), integers(0, 1, 1, 1)
        found = metrics.accuracy_by_shot(predicted, labels, counts=integers(5, 200))
        assert found == {"few": 0.5, "medium": None, "many": 1.0}


class TestOpenScores:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60))
    def test_auroc_equals_sklearn_with_ties(self, rows: list[tuple[int, bool]]) -> None:
        score = np.array([row[0] for row in rows], np.float32)
        is_unknown = np.array([row[1] for row in rows])
        if is_unknown.all() or not is_unknown.any():
            assert np.isnan(metrics.auroc(score, is_unknown))
        else:
            assert metrics.auroc(score, is_unknown) == pytest.approx(roc_auc_score(is_unknown, score))

    def test_fpr_at_95_tpr_equals_the_point_of_sklearns_curve(self) -> None:
        rng = np.random.default_rng(0)
        is_unknown = rng.random(2000) < 0.4
        score = (rng.standard_normal(2000) + is_unknown).astype(np.float32)
        false_accepts, true_accepts, _ = roc_curve(~is_unknown, -score)
        expected = false_accepts[np.argmax(true_accepts >= 0.95)]
        assert metrics.fpr_at_tpr(score, is_unknown) == pytest.approx(expected)

    def test_fpr_needs_both_kinds(self) -> None:
        assert np.isnan(metrics.fpr_at_tpr(np.ones(3, np.float32), np.zeros(3, np.bool_)))


class TestOpenF:
    #   3 right, 1 wrong class, 1 known rejected; 1 unknown accepted, 2 rejected.
    LABELS = integers(0, 0, 1, 1, 1, -1, -1, -1)
    PREDICTED = integers(0, 0, 1, 0, -1, 1, -1, -1)

    def test_standard(self) -> None:
        # TP 3; FP = wrong class + unknown accepted = 2; FN = wrong class + known rejected = 2
        assert metrics.open_f_measure(self.PREDICTED, self.LABELS, "standard") == pytest.approx(6 / 10)

    def test_old(self) -> None:
        # FP = wrong class = 1; FN = unknown accepted = 1
        assert metrics.open_f_measure(self.PREDICTED, self.LABELS, "old") == pytest.approx(6 / 8)

    def test_new(self) -> None:
        # FP = known not right = 2; FN = unknown accepted = 1
        assert metrics.open_f_measure(self.PREDICTED, self.LABELS, "new") == pytest.approx(6 / 9)

    def test_rejecting_everything_scores_nothing_in_standard(self) -> None:
        rejected = np.full(8, -1, np.int64)
        assert metrics.open_f_measure(rejected, self.LABELS, "standard") == 0.0

    def test_rejecting_all_but_one_right_image_is_perfect_in_old(self) -> None:
        predicted = np.full(8, -1, np.int64)
        predicted[0] = 0
        assert metrics.open_f_measure(predicted, self.LABELS, "old") == 1.0
        assert metrics.open_f_measure(predicted, self.LABELS, "standard") < 0.4

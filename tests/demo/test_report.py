"""The figures of runs, worked out by hand on two made-up seeds."""

import json
import math

import pytest

from demo.dataset import Dataset, divide
from demo.play import Finding, Result, Scores
from demo.report import as_json, figures, first_right, percentile, table
from demo.sources import Example, Source


def dataset() -> Dataset:
    examples = [Example(f"{name}/{at}.png", name) for name in ("a", "b", "moon", "bug") for at in range(10)]
    return divide(
        Source("made", tuple(examples), lambda path: b"", frozenset({"moon", "bug"}), ("1 left out.",)), 0
    )


def scores(known: float) -> Scores:
    return Scores(known, math.nan, 0.5, 0.9, 0.8, 0.75)


def result(seed: int, after: float, *findings: Finding) -> Result:
    return Result(seed, scores(0.9), scores(after), findings, 12, 1, 0, 3.0)


def two_seeds() -> list[Result]:
    return [
        result(
            0,
            0.88,
            Finding("moon", 5, 5, 2, 0.2, 1, {1: 0.4, 3: 0.6, 5: 0.8}),
            Finding("bug", 5, 3, 7, 4.5, 2, {1: 0.0, 3: 0.2}),
        ),
        result(1, 0.90, Finding("moon", 5, 1, 4, None, None, {1: 0.0}), Finding("bug", 5)),
    ]


class TestFigures:
    def test_one_value_for_each_seed(self) -> None:
        found = figures(two_seeds())
        assert found["known accuracy lost"] == pytest.approx([0.02, 0.0])
        assert found["open detection AUROC"] == [0.75, 0.75]

    def test_accuracy_after_n_labels_is_the_mean_over_classes_that_had_them(self) -> None:
        found = figures(two_seeds())
        assert found["novel accuracy after 1 label"] == pytest.approx([0.2, 0.0])
        assert found["novel accuracy after 3 labels"][0] == pytest.approx(0.4)
        assert found["novel accuracy after 5 labels"][0] == pytest.approx(0.8)
        assert math.isnan(found["novel accuracy after 5 labels"][1])


class TestFirstRight:
    def test_a_class_never_predicted_counts_as_slowest(self) -> None:
        timing = first_right(two_seeds())
        assert (timing["classes"], timing["not_found"]) == (3, 1)
        assert (timing["right_after_first_label"], timing["within_one_second"]) == (1, 1)
        assert timing["seconds_p50"] == 4.5
        assert timing["seconds_max"] == math.inf

    def test_nearest_rank(self) -> None:
        ordered = [float(number) for number in range(1, 21)]
        assert (percentile(ordered, 0.5), percentile(ordered, 0.95), percentile(ordered, 1.0)) == (10, 19, 20)
        assert math.isnan(percentile([], 0.5))


class TestJson:
    def test_is_valid_and_names_its_conditions(self) -> None:
        text = json.dumps(as_json(dataset(), two_seeds(), 5), allow_nan=False)
        written = json.loads(text)
        assert written["dataset"]["novel_classes"] == 2
        assert written["conditions"]["seeds"] == 2
        assert written["summary"]["known accuracy after"]["mean"] == pytest.approx(0.89)
        assert written["summary"]["few-shot accuracy before"] == {"mean": None, "sd": None, "n": 0}
        assert written["first_right"]["seconds_max"] is None
        assert written["seeds"][0]["findings"][0]["accuracy"] == {"1": 0.4, "3": 0.6, "5": 0.8}


class TestTable:
    def test_has_a_line_for_each_figure_and_class(self) -> None:
        text = table(dataset(), two_seeds(), 5)
        assert "known accuracy lost                  1.0     1.4 pt" in text
        assert "open detection AUROC               0.750   0.000" in text
        assert "p50 4.50 s, p95 never" in text
        assert "1 were not found" in text
        assert "1 left out." in text
        moon = next(line for line in text.splitlines() if line.startswith("moon"))
        assert moon.split() == ["moon", "3", "3.0", "0.20", "1.0", "20", "%", "60", "%", "80", "%"]

    def test_one_seed_has_no_spread(self) -> None:
        line = next(
            line for line in table(dataset(), two_seeds()[:1], 5).splitlines() if line.startswith("known")
        )
        assert line.split()[-2:] == ["–", "%"]

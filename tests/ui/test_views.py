"""What pages make of values: pure functions, no database."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation_ui import formats
from annotation_ui.forms import own_address
from annotation_ui.views import accuracy, job_view, longest_of, result_sentence, tail
from server.predictions.flags import Flag
from server.tables import Job, JobKind, JobState, ModelVersion

NOW = datetime(2026, 11, 18, 10, 30, tzinfo=UTC)


class TestFormats:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0 B"), (999, "999 B"), (1900, "2 KB"), (1_900_000, "1.9 MB"), (4e12, "4.0 TB")],
    )
    def test_file_size(self, value: int, text: str) -> None:
        assert formats.file_size(value) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [(-1, "0.0 s"), (0.42, "0.4 s"), (89, "89 s"), (90, "2 min"), (7200, "2 h"), (2e5, "2 days")],
    )
    def test_seconds(self, value: float, text: str) -> None:
        assert formats.seconds(value) == text

    @pytest.mark.parametrize(("value", "text"), [(0.871, ".87"), (1.02, "1.02"), (-0.3, "-0.30")])
    def test_short_score(self, value: float, text: str) -> None:
        assert formats.short(value) == text

    @pytest.mark.parametrize(
        ("age", "text"),
        [
            (timedelta(seconds=5), "just now"),
            (timedelta(minutes=4), "4 min ago"),
            (timedelta(hours=2), "08:30 UTC"),
            (timedelta(days=2), "16 Nov 10:30 UTC"),
            (timedelta(days=900), "01 Jun 2024"),
        ],
    )
    def test_moments_are_relative_then_clock_then_date(self, age: timedelta, text: str) -> None:
        shown = formats.when(NOW - age, NOW)
        assert f">{text}</time>" in shown
        assert f'datetime="{(NOW - age).isoformat()}"' in shown

    @pytest.mark.parametrize(("name", "letters"), [("Ines Maria Walter", "IM"), ("ada", "A"), ("  ", "?")])
    def test_initials(self, name: str, letters: str) -> None:
        assert formats.initials(name) == letters

    @given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
    def test_bar_never_leaves_its_track(self, value: float, longest: float) -> None:
        assert 0 <= float(formats.bar_percent(value, longest).rstrip("%")) <= 100


class TestOwnAddress:
    @pytest.mark.parametrize("address", ["/projects/1?flag=new", "/account"])
    def test_path_of_ours_is_kept(self, address: str) -> None:
        assert own_address(address) == address

    @given(st.text())
    def test_never_another_host(self, text: str) -> None:
        found = own_address(text)
        assert found.startswith("/")
        assert not found.startswith(("//", "/\\"))


class TestJobs:
    def job(self, **fields: object) -> Job:
        target = uuid.uuid4()
        common = {"kind": JobKind.SCORE, "project_id": uuid.uuid4(), "target_id": target, "created_at": NOW}
        return Job(**{**common, "state": JobState.RUNNING, "done": 0, "total": 0, **fields})

    def view(self, **fields: object) -> str:
        job = self.job(**fields)
        return job_view(job, {job.target_id: "Store 14"}, NOW).progress

    def test_counts_and_time_left(self) -> None:
        progress = self.view(started_at=NOW - timedelta(seconds=20), done=1500, total=2000)
        assert progress == "1,500 of 2,000 · 6.7 s left"

    def test_says_when_no_worker_takes_it(self) -> None:
        assert self.view(state=JobState.QUEUED) == "waiting"
        late = self.view(state=JobState.QUEUED, created_at=NOW - timedelta(minutes=1))
        assert late == "waiting: no worker has taken it yet"

    def test_failure_says_why(self) -> None:
        assert self.view(state=JobState.FAILED, error="The disk is full.") == "The disk is full."

    @pytest.mark.parametrize("kind", JobKind)
    def test_every_kind_has_a_title(self, kind: JobKind) -> None:
        job = self.job(kind=kind)
        assert job_view(job, {job.target_id: "Store 14"}, NOW).title


class TestTail:
    @given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=60))
    def test_bars_fit_the_plot_and_bins_add_up(self, counts: list[tuple[int, bool]]) -> None:
        found = tail(counts)
        assert found.many + found.medium + found.few == len(counts) == len(found.bars)
        heights = [bar.height for bar in found.bars]
        assert heights == sorted(heights, reverse=True)
        assert all(0 <= bar.y <= 112 and 0 <= float(bar.x.rstrip("%")) <= 100 for bar in found.bars)

    def test_bins_change_after_20_and_at_100(self) -> None:
        found = tail((count, False) for count in (20, 21, 99, 100))
        assert (found.many, found.medium, found.few) == (1, 2, 1)


class TestFigures:
    def test_accuracy_by_heading(self) -> None:
        metrics = {"accuracy": 0.9, "accuracy_by_shot": {"many": None, "medium": 0.8, "few": 0.7}}
        assert accuracy(ModelVersion(metrics=metrics)) == [
            ("All", 0.9),
            ("Many", None),
            ("Medium", 0.8),
            ("Few", 0.7),
        ]

    def test_nothing_measured_is_nothing_shown(self) -> None:
        assert accuracy(ModelVersion(metrics={})) == []

    def test_scale_of_a_list_covers_its_longest(self) -> None:
        assert longest_of([0.5, 1.0], [None, 2.0]) == pytest.approx(2.2)
        assert longest_of([]) > 0

    @pytest.mark.parametrize("flag", [Flag.NEW, Flag.UNCERTAIN, Flag.KNOWN])
    def test_sentence_names_the_nearest_with_its_distance(self, flag: Flag) -> None:
        sentence = result_sentence(flag, [(uuid.uuid4(), "100 % rye", 0.871)])
        assert "The nearest is 100 % rye, 0.87 away." in sentence

    def test_sentence_without_any_category(self) -> None:
        assert "everything is new" in result_sentence(Flag.NEW, [])

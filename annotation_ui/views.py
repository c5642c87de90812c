"""What templates show, made of what services return. Plain values, no request and no database."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from annotation_ui import formats
from annotation_ui.words import _
from server.audit import Entry
from server.categories.service import Bin, bin_of
from server.permissions import Permission
from server.predictions.flags import Flag
from server.tables import Job, JobKind, JobState, ModelVersion, User

SLOW_PICKUP = timedelta(seconds=30)


@dataclass(frozen=True)
class Shell:
    """What stands around every page: the person, the project and what they may do in it."""

    user_id: uuid.UUID
    user_name: str
    project_id: uuid.UUID | None
    project_name: str
    waiting: int
    categories: int
    can: frozenset[Permission]

    @classmethod
    def of_person(cls, user: User) -> "Shell":
        """Around a page that belongs to no project."""
        return cls(user.id, user.name, None, "", 0, 0, frozenset())


@dataclass(frozen=True)
class JobView:
    """A job as a person follows it. ``where``: a page that shows its subject."""

    title: str
    progress: str
    done: int
    total: int
    where: str | None
    is_failed: bool = False


def job_view(job: Job, names: Mapping[uuid.UUID, str], now: datetime) -> JobView:
    """``names`` holds those of batches and versions by id."""
    subject = names.get(job.target_id, "")
    home = f"/projects/{job.project_id}"
    titles = {
        JobKind.INGEST: _("Unpacking %s") % subject,
        JobKind.SCORE: _("Scoring %s") % subject,
        JobKind.TRAIN: _("Training %s") % subject,
    }
    where = {
        JobKind.INGEST: f"{home}/batches/{job.target_id}",
        JobKind.SCORE: f"{home}/batches/{job.target_id}",
        JobKind.TRAIN: f"{home}/models",
    }[job.kind]
    return JobView(
        title=titles[job.kind],
        progress=_progress(job, now),
        done=job.done,
        total=job.total,
        where=where,
        is_failed=job.state is JobState.FAILED,
    )


def _progress(job: Job, now: datetime) -> str:
    if job.state is JobState.FAILED:
        return job.error or _("failed")
    if job.state is JobState.QUEUED or job.started_at is None:
        is_slow = now - job.created_at > SLOW_PICKUP
        return _("waiting: no worker has taken it yet") if is_slow else _("waiting")
    if not job.total:
        return _("running")
    counted = _("%(done)s of %(total)s") % {
        "done": formats.number(job.done),
        "total": formats.number(job.total),
    }
    if not 0 < job.done < job.total:
        return counted
    elapsed = (now - job.started_at).total_seconds()
    left = elapsed / job.done * (job.total - job.done)
    return _("%(counted)s · %(left)s left") % {"counted": counted, "left": formats.seconds(left)}


@dataclass(frozen=True)
class FlagCounts:
    """How images divide by flag."""

    known: int
    uncertain: int
    new: int

    @classmethod
    def of(cls, counts: Mapping[Flag, int]) -> "FlagCounts":
        """From what the batch service counts."""
        return cls(counts[Flag.KNOWN], counts[Flag.UNCERTAIN], counts[Flag.NEW])

    @property
    def scored(self) -> int:
        """All images with a score."""
        return self.known + self.uncertain + self.new


@dataclass(frozen=True)
class TailBar:
    """One bar of the long tail: place and size as SVG lengths of a plot 148 px high."""

    x: str
    middle: str
    width: str
    y: float
    height: float
    is_new: bool


@dataclass(frozen=True)
class Tail:
    """Images per category, largest first, with the shares of the bins below them."""

    bars: list[TailBar]
    top: int
    many: int
    medium: int
    few: int


PLOT_BASE, PLOT_TOP = 112.0, 8.0


def tail(counts: Iterable[tuple[int, bool]]) -> Tail:
    """The long tail of ``(images, found this week)`` per category."""
    ordered = sorted(counts, reverse=True)
    top = max((count for count, _is_new in ordered), default=0)
    step = 100 / max(len(ordered), 1)
    gap = min(0.26 * step, 0.6)
    bars = []
    for index, (count, is_new) in enumerate(ordered):
        height = (PLOT_BASE - PLOT_TOP) * count / top if top else 0.0
        bars.append(
            TailBar(
                x=f"{index * step + gap / 2:.2f}%",
                middle=f"{(index + 0.5) * step:.2f}%",
                width=f"{step - gap:.2f}%",
                y=round(PLOT_BASE - height, 1),
                height=round(height, 1),
                is_new=is_new,
            )
        )
    bins = Counter(bin_of(count) for count, _is_new in ordered)
    return Tail(bars=bars, top=top, many=bins[Bin.MANY], medium=bins[Bin.MEDIUM], few=bins[Bin.FEW])


def longest_of(distances: Iterable[float], limits: Iterable[float | None] = ()) -> float:
    """A common scale for bars of one list: a little more than its longest."""
    return 1.1 * max([*distances, *(limit for limit in limits if limit is not None)], default=1.0)


# Heading and place in ``ModelVersion.metrics`` of what is shown of a version.
ACCURACY_COLUMNS = (
    (_("All"), ("accuracy",)),
    (_("Many"), ("accuracy_by_shot", "many")),
    (_("Medium"), ("accuracy_by_shot", "medium")),
    (_("Few"), ("accuracy_by_shot", "few")),
)


def accuracy(version: ModelVersion) -> list[tuple[str, float | None]]:
    """Accuracy of a version by heading, None where it was not measured; empty where nothing was."""
    found = [(heading, _figure(version.metrics, path)) for heading, path in ACCURACY_COLUMNS]
    return found if any(value is not None for _heading, value in found) else []


def held_out(version: ModelVersion) -> int:
    """Number of images that the accuracy of a version was measured on."""
    return int(_figure(version.metrics, ("held_out_images",)) or 0)


def _figure(metrics: Mapping[str, Any], path: Sequence[str]) -> float | None:
    found: Any = metrics
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def result_sentence(flag: Flag, nearest: Sequence[tuple[uuid.UUID, str, float]]) -> str:
    """What a score means, with its evidence: the nearest category and how far it is."""
    if not nearest:
        return _("No category has a labelled image yet, so everything is new.")
    _category_id, name, distance = nearest[0]
    evidence = {"name": name, "distance": formats.score(distance)}
    if flag is Flag.NEW:
        return _("Unlike the known categories. The nearest is %(name)s, %(distance)s away.") % evidence
    if flag is Flag.UNCERTAIN:
        return (
            _("On the border between known and new. The nearest is %(name)s, %(distance)s away.") % evidence
        )
    return _("Looks known. The nearest is %(name)s, %(distance)s away.") % evidence


@dataclass(frozen=True)
class HistoryLine:
    """One act in the history of a category."""

    text: str
    at: datetime
    who: str | None


def history_line(row: Entry) -> HistoryLine:
    """An entry of the audit log in words."""
    details = row.entry.details
    words = {
        "category.created": _("Made as “%(name)s”"),
        "category.renamed": _("Renamed from “%(before)s” to “%(after)s”"),
        "category.alias_added": _("“%(name)s” leads here too"),
        "category.alias_removed": _("“%(name)s” does not lead here any more"),
        "category.confirmed": _("Confirmed"),
        "category.retired": _("Retired"),
    }
    text = words.get(row.entry.action, row.entry.action)
    return HistoryLine(text % details if "%(" in text else text, row.entry.created_at, row.user_name)

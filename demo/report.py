"""The figures of some runs as a table and as JSON."""

import math
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import mean, median, stdev
from typing import Any

from demo.dataset import Dataset
from demo.play import CHECKPOINTS, Finding, Result

WITHIN_SECONDS = 1.0


def as_json(dataset: Dataset, results: Sequence[Result], labels: int) -> dict[str, Any]:
    """Everything measured, with the conditions. Shares lie in 0 … 1; what could not be measured is null."""
    measured: dict[str, Any] = {
        "dataset": dataset_facts(dataset),
        "conditions": conditions(labels, len(results)),
        "summary": {name: _spread(values) for name, values in figures(results).items()},
        "first_right": first_right(results),
        "seeds": [asdict(result) for result in results],
    }
    return {name: _without_nan(part) for name, part in measured.items()}


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Sizes of the parts; those of other seeds differ by the draw only."""
    return {
        "name": dataset.source.name,
        "known_classes": len(dataset.known),
        "few_shot_classes": len(dataset.few_shot),
        "novel_classes": len(dataset.novel),
        "train": len(dataset.train),
        "pool": len(dataset.pool),
        "known_test": len(dataset.known_test),
        "novel_test": len(dataset.novel_test),
        "left_out": list(dataset.source.notes),
    }


def conditions(labels: int, seeds: int) -> dict[str, Any]:
    """What the figures depend on besides the data."""
    return {
        "version": version("newfound"),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores_of_client": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_average_1_minute": os.getloadavg()[0],
        "labels_per_class": labels,
        "seeds": seeds,
    }


def figures(results: Sequence[Result]) -> dict[str, list[float]]:
    """Each figure of the summary, one value for each seed."""
    found: dict[str, Callable[[Result], float]] = {
        "known accuracy before": lambda one: one.before.known,
        "known accuracy after": lambda one: one.after.known,
        "known accuracy lost": lambda one: one.before.known - one.after.known,
        "few-shot accuracy before": lambda one: one.before.few_shot,
        "few-shot accuracy after": lambda one: one.after.few_shot,
        "open detection AUROC": lambda one: one.before.auroc,
        "known pictures called known": lambda one: one.before.known_accepted,
        "novel pictures called new": lambda one: one.before.novel_rejected,
    }
    for count in CHECKPOINTS:
        found[f"novel accuracy after {_labels(count)}"] = lambda one, count=count: _mean(  # type: ignore[misc]
            finding.accuracy[count] for finding in one.findings if count in finding.accuracy
        )
    found["novel accuracy at the end"] = lambda one: one.after.novel
    return {name: [measure(result) for result in results] for name, measure in found.items()}


def first_right(results: Sequence[Result]) -> dict[str, Any]:
    """From first label to first right prediction, over all novel classes of all seeds that were found."""
    found = [one for result in results for one in result.findings if one.found_at is not None and one.unseen]
    # A class that was never predicted rightly counts as slower than any other.
    seconds = sorted(
        math.inf if one.first_right_seconds is None else one.first_right_seconds for one in found
    )
    return {
        "classes": len(found),
        "not_found": sum(len(result.findings) for result in results) - len(found),
        "right_after_first_label": sum(one.first_right_labels == 1 for one in found),
        "within_one_second": sum(value <= WITHIN_SECONDS for value in seconds),
        "seconds_p50": percentile(seconds, 0.50),
        "seconds_p95": percentile(seconds, 0.95),
        "seconds_max": percentile(seconds, 1.0),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of ascending values; NaN without any."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def table(dataset: Dataset, results: Sequence[Result], labels: int) -> str:
    """The figures for people."""
    facts = dataset_facts(dataset)
    timing = first_right(results)
    checks = sum(result.name_checks for result in results)
    lines = [
        f"{facts['name']}: {facts['known_classes']} known classes ({facts['few_shot_classes']} of at most 20 "
        f"pictures) on {facts['train']} pictures; {facts['novel_classes']} novel classes among the "
        f"{facts['pool']} of the pool.",
        f"{len(results)} seeds, up to {_labels(labels)} for each novel class; tested on "
        f"{facts['known_test']} known and {facts['novel_test']} novel pictures.",
        "",
        f"{'':<32}{'mean':>8}{'± sd':>8}",
    ]
    lines += [_summary_line(name, values) for name, values in figures(results).items()]
    lines += [
        "",
        "From first label to first right prediction of an unseen picture, "
        f"{timing['classes']} classes: p50 {_seconds(timing['seconds_p50'])}, "
        f"p95 {_seconds(timing['seconds_p95'])}, longest {_seconds(timing['seconds_max'])};",
        f"{timing['right_after_first_label']} were right after their first label, "
        f"{timing['within_one_second']} within {WITHIN_SECONDS:.0f} s, {timing['not_found']} were not found.",
        f"The naming check stopped {checks} new names.",
        "",
        f"{'novel class':<28}{'found at':>9}{'labels':>8}{'seconds':>9}{'needed':>8}"
        + "".join(f"{f'after {count}':>9}" for count in CHECKPOINTS),
    ]
    lines += [_class_line(name, group) for name, group in _by_category(results).items()]
    lines += [
        "",
        "found at: which answer named the class; seconds: to the first right prediction; needed: labels that",
        "took; after n: share of its unseen pictures predicted rightly with n labels. Means over the seeds.",
    ]
    lines += list(dataset.source.notes)
    unreadable = sum(result.unreadable for result in results)
    if unreadable:
        lines.append(f"{unreadable} test pictures could not be read and were left out.")
    return "\n".join(lines)


def _summary_line(name: str, values: Sequence[float]) -> str:
    spread = _spread(values)
    if name == "open detection AUROC":
        return f"{name:<32}{_number(spread['mean'], 3):>8}{_number(spread['sd'], 3):>8}"
    unit = "pt" if name.endswith("lost") else "%"
    return f"{name:<32}{_number(100 * spread['mean']):>8}{_number(100 * spread['sd']):>8} {unit}"


def _class_line(name: str, group: Sequence[Finding]) -> str:
    found = [one for one in group if one.found_at is not None]
    at = median(one.found_at for one in found if one.found_at is not None) if found else math.nan
    seconds = _mean(one.first_right_seconds for one in found if one.first_right_seconds is not None)
    needed = _mean(one.first_right_labels for one in found if one.first_right_labels is not None)
    shares = (_mean(one.accuracy[count] for one in found if count in one.accuracy) for count in CHECKPOINTS)
    return (
        f"{name[:27]:<28}{at:>9.0f}{_mean(one.labels for one in group):>8.1f}{seconds:>9.2f}{needed:>8.1f}"
        + "".join(f"{_percent(share):>9}" for share in shares)
    )


def _by_category(results: Sequence[Result]) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for result in results:
        for finding in result.findings:
            groups.setdefault(finding.category, []).append(finding)
    return groups


def _spread(values: Sequence[float]) -> dict[str, float]:
    known = [value for value in values if not math.isnan(value)]
    return {
        "mean": _mean(known),
        "sd": stdev(known) if len(known) > 1 else math.nan,
        "n": len(known),
    }


def _mean(values: Iterable[float]) -> float:
    given = list(values)
    return mean(given) if given else math.nan


def _number(value: float, digits: int = 1) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if math.isfinite(value) else "never"


def _labels(count: int) -> str:
    return f"{count} label" if count == 1 else f"{count} labels"


def _without_nan(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {str(key): _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

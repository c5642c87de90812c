"""The sentence that tells a person why an image was asked, from the figures behind its place in the queue."""

from collections.abc import Mapping
from typing import Any

# From this share of nearest to second nearest distance on, an image is torn between two categories.
TORN = 0.95


def sentence(reason: Mapping[str, Any]) -> str:
    """The reason in words.

    ``reason`` holds ``kind`` and, once the image is scored, the figures of ``AnnotationTask.reason``;
    ``nearest_name`` is the present name of the nearest category, so that a rename shows at once.
    """
    match reason.get("kind"):
        case "new":
            return _new(reason) + _group(reason)
        case "uncertain":
            return f"On the border between known and new. {_nearest(reason)}" + _group(reason)
        case "known":
            return _known(reason)
        case "control":
            return "Picked at random, to measure what the order of the others gains."
        case "no-classes":
            return "No category has a labelled image yet, so everything is new. Your answer makes the first."
        case _:
            return "Not scored yet. Images with scores come first; this one is next all the same."


def _new(reason: Mapping[str, Any]) -> str:
    if not _has_nearest(reason):
        return "Unlike anything known."
    count = reason.get("categories") or 1
    known = "the only known category" if count == 1 else f"any of the {count} known categories"
    if reason["distance"] <= reason["usual_limit"]:
        return f"Looks new, though not far off. {_nearest(reason)}"
    return f"Unlike {known}. {_nearest(reason)}"


def _known(reason: Mapping[str, Any]) -> str:
    if (reason.get("informativeness") or 0.0) >= TORN:
        return f"Looks known, but torn between two categories. {_nearest(reason)}"
    return f"Looks known; asked after those that look new. {_nearest(reason)}"


def _nearest(reason: Mapping[str, Any]) -> str:
    if not _has_nearest(reason):
        return "Its nearest category has no images any more."
    return (
        f"The nearest is {reason['nearest_name']}, {reason['distance']:.2f} away; "
        f"its images usually lie within {reason['usual_limit']:.2f}."
    )


def _has_nearest(reason: Mapping[str, Any]) -> bool:
    return all(reason.get(key) is not None for key in ("nearest_name", "distance", "usual_limit"))


def _group(reason: Mapping[str, Any]) -> str:
    size = reason.get("group_size") or 0
    return f" {size - 1} more that wait look like it." if size > 2 else ""

"""What an image's label is, given what was said of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from server.tables import LabelSource, Verdict


@dataclass(frozen=True)
class Opinion:
    """A judgement that stands: current and not withdrawn."""

    source: LabelSource
    verdict: Verdict
    category_id: uuid.UUID | None


@dataclass(frozen=True)
class Label:
    """The present label of an image; no verdict: nobody has said anything."""

    verdict: Verdict | None
    category_id: uuid.UUID | None


UNLABELLED = Label(None, None)
DISPUTED = Label(Verdict.CONFLICT, None)


def label_of(opinions: Sequence[Opinion]) -> Label:
    """The label from opinions in the order in which they came.

    A person who looked at the image settles it, the last one where several did. Imports count where
    nobody has looked; imports that disagree leave the image without a category until somebody does.
    """
    looked = [opinion for opinion in opinions if opinion.source is LabelSource.HUMAN]
    if looked:
        return Label(looked[-1].verdict, looked[-1].category_id)
    if not opinions:
        return UNLABELLED
    if are_disputed(opinions):
        return DISPUTED
    return Label(opinions[-1].verdict, opinions[-1].category_id)


def are_disputed(opinions: Sequence[Opinion]) -> bool:
    """Whether the opinions name different categories, whoever was right."""
    return len({opinion.category_id for opinion in opinions}) > 1

"""The choices that a project makes about its queue. A test holds them to the registries of ``model``."""

from enum import StrEnum


class Strategy(StrEnum):
    """How a round of images is chosen among the admitted ones."""

    FRONTIER = "frontier"
    FREE_ENERGY = "free_energy"
    RANDOM = "random"


class Gate(StrEnum):
    """The score that admits images to the choice."""

    FREE_ENERGY = "free_energy"
    OPENNESS = "openness"
    UNKNOWN_SCORE = "unknown_score"

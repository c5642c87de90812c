"""Open-set scores by name. Higher = more unknown."""

from model.scores.base import Score
from model.scores.mahalanobis import Mahalanobis
from model.scores.max_cosine import MaxCosine
from model.scores.reachability import Reachability
from model.scores.threshold import Threshold, calibrate, known_by_probability

SCORES: dict[str, type[Score]] = {score.name: score for score in (Mahalanobis, MaxCosine, Reachability)}

__all__ = ["SCORES", "Score", "Threshold", "calibrate", "known_by_probability"]

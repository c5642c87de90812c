"""What to ask people about: scores of an image's newness and strategies that choose images."""

from model.exploration.base import Pool, Selection, Strategy, estimate_open_share
from model.exploration.free_energy import FreeEnergy
from model.exploration.frontier import Frontier
from model.exploration.random import Random

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (Frontier(), FreeEnergy(), Random())
}

__all__ = ["STRATEGIES", "Pool", "Selection", "Strategy", "estimate_open_share"]

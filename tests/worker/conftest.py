"""The engine of a worker in this process, on the run's real database and Redis."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from world import World

from model.runtime import load_extractor
from model.train import TrainConfig
from server.settings import Settings
from worker import tasks, training
from worker.engine import Engine


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the network's graph is written, once for all engines of the run."""
    folder = tmp_path_factory.mktemp("graph")
    load_extractor("cpu", cache_dir=folder)
    return folder


@pytest.fixture(scope="module")
def engine(settings: Settings, graph_folder: Path) -> Iterator[Engine]:
    """This module's engine, which the tasks use too."""
    (settings.home / "cache").symlink_to(graph_folder)
    tasks.engine.cache_clear()
    engine = tasks.engine()
    engine.redis.flushdb()
    yield engine
    engine.close()
    tasks.engine.cache_clear()


@pytest.fixture
def world(engine: Engine) -> World:
    """A project without images."""
    engine.redis.flushdb()
    return World(engine)


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of some steps: what is learnt does not matter here, what is done with it does."""
    monkeypatch.setattr(training, "TrainConfig", partial(TrainConfig, min_steps=40, epochs=1))

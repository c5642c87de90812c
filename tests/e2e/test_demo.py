"""The demo against the whole service: a small world of emoji, three known classes and one to find."""

import json
from dataclasses import replace

import pytest
from stack import Stack

from demo.client import Client
from demo.create import PROJECT, create
from demo.dataset import divide
from demo.play import play
from demo.report import as_json, table
from demo.sources import Source, emoji_source
from demo.stages import KNOWN_BATCH, POOL_BATCH, import_known, new_project

CLASSES = ("heart", "book", "tool", "clock")
SIZE = 12


@pytest.fixture(scope="module")
def world() -> Source:
    """Twelve pictures of each class; the clocks are the ones to find."""
    source = emoji_source()
    few = [
        example
        for name in CLASSES
        for example in [one for one in source.examples if one.category == name][:SIZE]
    ]
    return replace(source, examples=tuple(few), novel=frozenset({"clock"}))


class TestPlay:
    def test_finds_the_novel_class_and_sees_it_recognised(self, stack: Stack, world: Source) -> None:
        dataset = divide(world, 0)
        with Client(stack.base_url, stack.token) as client:
            result = play(client, dataset, seed=0, labels=3, project_name="Small demo", say=lambda _: None)
            project = client.find_project("Small demo")
            assert project is not None
            categories = client.categories(project["id"])
        assert set(categories) == set(CLASSES)
        assert categories["clock"]["count"] == 3
        (clock,) = result.findings
        assert clock.labels == 3
        assert clock.found_at is not None
        assert clock.found_at <= result.answers
        assert clock.first_right_seconds is not None
        assert set(clock.accuracy) == {1, 3}
        assert result.before.novel == 0.0
        assert result.after.novel > 0.5
        assert result.before.known > 0.5
        assert result.unreadable == 0
        assert json.dumps(as_json(dataset, [result], 3), allow_nan=False)
        assert "clock" in table(dataset, [result], 3)


class TestCreate:
    def test_finishes_what_a_former_start_began_and_then_rests(self, stack: Stack, world: Source) -> None:
        told: list[str] = []
        with Client(stack.base_url, stack.token) as client:
            dataset = divide(world, 0)
            begun = new_project(client, PROJECT, "Cut short after the import.", dataset)
            import_known(client, begun, dataset, told.append)

            assert create(client, world, told.append) == begun
            assert client.queue(begun)["waiting"] == len(dataset.pool)
            assert sorted(batch["name"] for batch in client.batches(begun)) == [KNOWN_BATCH, POOL_BATCH]

            told.clear()
            assert create(client, world, told.append) == begun
            assert told == [f"The project {PROJECT} is there"]

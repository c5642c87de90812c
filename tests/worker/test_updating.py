"""A label makes its category live, a withdrawal takes it back: the same memory in whatever order."""

import uuid
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from world import World

from model.memory import ClassMemory
from server.database import session_scope
from server.exploration import vectors
from server.tables import BatchKind, Category, CategoryStatus, ClassMemoryRow, Image
from worker.engine import Engine
from worker.updating import update_memory

CATEGORIES = 3


def memory_of(world: World) -> dict[uuid.UUID, ClassMemoryRow]:
    """Memory rows of the active version by category."""
    rows = world.rows(select(ClassMemoryRow).where(ClassMemoryRow.model_version_id == world.version.id))
    return {row.category_id: row for row in rows}


@pytest.fixture
def pool(world: World) -> list[uuid.UUID]:
    """Five unlabelled images of each of two kinds, scored: first the one, then the other."""
    batch_id = world.batch()
    images = world.look_alikes(batch_id, 1, 5) + world.look_alikes(batch_id, 2, 5)
    world.work()
    return images


class TestFirstLabel:
    def test_predictions_name_the_category_from_then_on(self, world: World, pool: list[uuid.UUID]) -> None:
        cup = world.category("Cup")

        world.label(pool[0], cup)
        world.work()

        assert {world.predictions[image].category_id for image in pool[:5]} == {cup}
        assert world.version.memory_revision == world.version.scored_revision == 1
        category = world.rows(select(Category).where(Category.id == cup))[0]
        assert category.live_at is not None

    def test_shows_the_image_as_the_example(self, world: World, pool: list[uuid.UUID]) -> None:
        cup = world.category("Cup")

        world.label(pool[0], cup)
        world.work()

        row = memory_of(world)[cup]
        assert (row.exemplar_image_id, row.count) == (pool[0], 1)

    def test_before_the_image_has_scores_counts_as_soon_as_it_has(self, world: World) -> None:
        world.look_alikes(world.batch(), 2, 5)
        world.work()
        cup = world.category("Cup")
        image = world.look_alikes(world.batch(), 1, 1)[0]
        world.label(image, cup)

        world.work()

        assert memory_of(world)[cup].count == 1
        assert world.predictions[image].category_id == cup


class TestWithdrawal:
    def test_of_the_only_label_takes_the_category_out_of_predictions(
        self, world: World, pool: list[uuid.UUID]
    ) -> None:
        cup, bowl = world.category("Cup"), world.category("Bowl")
        world.label(pool[0], cup)
        world.label(pool[5], bowl)
        world.work()

        world.label(pool[0], None)
        world.work()

        assert set(memory_of(world)) == {bowl}
        assert {row.category_id for row in world.predictions.values()} == {bowl}
        assert all(pair[0] == str(bowl) for row in world.predictions.values() for pair in row.nearest)

    def test_of_the_last_label_leaves_nothing_known(self, world: World, pool: list[uuid.UUID]) -> None:
        cup = world.category("Cup")
        world.label(pool[0], cup)
        world.work()

        world.label(pool[0], None)
        world.work()

        assert memory_of(world) == {}
        assert all(row.category_id is None and not row.is_known for row in world.predictions.values())

    def test_retiring_a_category_takes_it_out_too(self, world: World, pool: list[uuid.UUID]) -> None:
        cup = world.category("Cup")
        world.label(pool[0], cup)
        world.work()

        with session_scope(world.engine.url) as session:
            session.get_one(Category, cup).status = CategoryStatus.RETIRED
        update_memory(world.engine, world.project_id, cup)

        assert memory_of(world) == {}


class TestRepeats:
    def test_a_doubled_message_changes_nothing(self, world: World, pool: list[uuid.UUID]) -> None:
        cup = world.category("Cup")
        world.label(pool[0], cup)
        world.work()

        update_memory(world.engine, world.project_id, cup)

        assert world.version.memory_revision == 1
        assert world.next_message() is None

    def test_without_any_version_there_is_nothing_to_do(self, world: World) -> None:
        cup = world.category("Cup")

        update_memory(world.engine, world.project_id, cup)

        assert world.next_message() is None


@dataclass
class Scene:
    """A project with scored images of several kinds that labels come to and go from."""

    world: World
    images: list[uuid.UUID]
    categories: list[uuid.UUID]


@pytest.fixture(scope="module")
def scene(engine: Engine) -> Scene:
    """Twelve images; none is labelled at first, later as the example before left it."""
    world = World(engine)
    batch_id = world.batch()
    images = [image for kind in range(4) for image in world.look_alikes(batch_id, kind, 3)]
    categories = [world.category(f"category {at}") for at in range(CATEGORIES)]
    world.work()
    return Scene(world, images, categories)


acts = st.lists(
    st.tuples(st.integers(0, 11), st.one_of(st.none(), st.integers(0, CATEGORIES - 1))),
    min_size=1,
    max_size=8,
)


class TestAnySequence:
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(acts=acts)
    def test_of_labels_and_withdrawals_gives_the_memory_and_scores_of_the_labels_that_are_left(
        self, scene: Scene, acts: list[tuple[int, int | None]]
    ) -> None:
        world = scene.world
        for at, (image, category) in enumerate(acts):
            world.label(scene.images[image], None if category is None else scene.categories[category])
            if at % 3 == 2:
                world.work()
        world.work()

        memory, scores = from_scratch(scene)

        held = memory_of(world)
        assert {str(category) for category in held} == set(memory.categories)
        for k, category in enumerate(memory.categories):
            row = held[uuid.UUID(category)]
            np.testing.assert_allclose(row.centroid, memory.centroids[k], atol=1e-5)
            np.testing.assert_allclose(row.weight, memory.weights[k], atol=1e-5)
            assert row.count == memory.counts[k]
        for at, image in enumerate(scene.images):
            stored = world.predictions[image]
            assert stored.free_energy == pytest.approx(float(scores.free_energy[at]), abs=1e-3)
            assert stored.openness == pytest.approx(float(scores.openness[at]), abs=1e-3)
            assert stored.unknown_score == pytest.approx(float(scores.unknown_score[at]), abs=1e-3)


def from_scratch(scene: Scene):
    """Memory and scores computed at once from the labels as they are, without any history."""
    world, version = scene.world, scene.world.version
    recogniser = world.engine.recognition.recogniser(version.id)
    dim = recogniser.space.dim
    with session_scope(world.engine.url) as session:
        rows = vectors.read_embeddings(session, version.id, dim, uuid.UUID(int=0), 100)
        labels = {
            image.id: image.category_id
            for image in session.scalars(select(Image).where(Image.project_id == world.project_id))
        }
    ids = [uuid.UUID(bytes=one.tobytes()) for one in rows["image_id"]]
    v = rows["vector"]["values"].astype(np.float32)
    memory = ClassMemory.empty(dim)
    for category in sorted({label for label in labels.values() if label}):
        own = v[[labels[image] == category for image in ids]]
        memory = recogniser.revise(memory, str(category), own, np.zeros((0, dim), np.float32))
    order = [ids.index(image) for image in scene.images]
    return memory, recogniser.predict(v[order], memory)


class TestTrainedCategory:
    def test_keeps_what_it_was_trained_on_and_takes_new_labels_in(
        self, world: World, short_training: None
    ) -> None:
        cup, bowl = world.category("Cup"), world.category("Bowl")
        labelled = world.batch(BatchKind.LABELLED)
        cups = world.look_alikes(labelled, 1, 6, cup)
        world.look_alikes(labelled, 2, 6, bowl)
        world.work()
        world.request_training()
        world.work()
        assert memory_of(world)[cup].count == 6

        more = world.look_alikes(world.batch(), 1, 2)
        world.work()
        world.label(more[0], cup)
        world.work()
        with_more = memory_of(world)[cup]
        world.label(more[0], None)
        world.label(cups[0], None)
        world.work()

        assert with_more.count == 7
        assert memory_of(world)[cup].count == 5
        world.label(cups[0], cup)
        world.work()
        assert memory_of(world)[cup].count == 6

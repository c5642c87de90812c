"""A training from request to the version that answers, and all the ways in which it can end otherwise."""

import threading
import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import select
from world import World, noise

from server import jobs
from server.database import session_scope
from server.model_versions import service as versions
from server.tables import (
    BatchKind,
    ClassMemoryRow,
    Embedding,
    JobState,
    ModelVersion,
    Prediction,
    User,
    VersionStatus,
)
from worker import training

pytestmark = pytest.mark.usefixtures("short_training")


@pytest.fixture
def labelled(world: World) -> World:
    """Two categories of six images each, of which some could be held out, and a pool that is scored."""
    batch_id = world.batch(BatchKind.LABELLED)
    for kind, name in enumerate(("Cup", "Bowl")):
        world.look_alikes(batch_id, kind, 6, world.category(name))
    world.look_alikes(world.batch(), 0, 4)
    world.look_alikes(world.batch(), 7, 4)
    world.work()
    return world


def version_row(world: World, version_id: uuid.UUID) -> ModelVersion:
    return world.rows(select(ModelVersion).where(ModelVersion.id == version_id))[0]


def interrupt(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let ``act`` happen in the middle of the next training."""
    learn = training.train_head
    waiting = [act]

    def train_and_act(*arguments, **options):
        if waiting:
            waiting.pop()()
        return learn(*arguments, **options)

    monkeypatch.setattr(training, "train_head", train_and_act)


class TestTraining:
    def test_ends_with_a_version_that_answers_for_the_whole_pool(self, labelled: World) -> None:
        former = labelled.version
        version_id = labelled.request_training()

        labelled.work()

        active = labelled.version
        assert (active.id, active.number, active.parent_id) == (version_id, 2, former.id)
        assert version_row(labelled, former.id).status is VersionStatus.RETIRED
        assert len(labelled.predictions) == 20
        job = labelled.job(version_id)
        assert (job.state, job.done) == (JobState.DONE, job.total)
        assert active.scored_revision == active.memory_revision

    def test_measures_itself_on_images_that_it_has_not_seen(self, labelled: World) -> None:
        labelled.request_training()
        labelled.work()

        metrics = labelled.version.metrics
        assert metrics["held_out_images"] == 2
        assert 0 <= metrics["accuracy"] <= 1
        assert metrics["accuracy_by_shot"]["many"] is None

    def test_bins_its_categories_by_all_their_images(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        for kind, name in enumerate(("Cup", "Bowl")):
            # Without the fifth that is held out they would be few.
            world.look_alikes(batch_id, kind, 24, world.category(name))
        world.look_alikes(world.batch(), 0, 1)
        world.work()
        world.request_training()
        world.work()

        by_shot = world.version.metrics["accuracy_by_shot"]
        assert by_shot["medium"] is not None
        assert by_shot["few"] is None

    def test_tells_known_from_new(self, labelled: World) -> None:
        labelled.request_training()
        labelled.work()

        flags = [task.reason["kind"] for task in labelled.queue.values() if not task.is_control]
        assert set(flags) <= {"known", "uncertain", "new"}
        energy = [row.free_energy for row in labelled.predictions.values()]
        assert len(set(energy)) > 10

    def test_keeps_the_scores_of_the_former_version_until_its_own_are_there(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        former = labelled.version
        seen = []
        interrupt(monkeypatch, lambda: seen.append((labelled.version.id, len(labelled.predictions))))
        labelled.request_training()

        labelled.work()

        assert seen == [(former.id, 20)]
        kept = select(Prediction.image_id).where(Prediction.model_version_id == former.id)
        assert len(labelled.rows(kept)) == 20

    def test_takes_in_labels_and_images_that_come_while_it_runs(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plate = labelled.category("Plate")
        late: list[uuid.UUID] = []

        def meanwhile() -> None:
            late.extend(labelled.look_alikes(labelled.batch(), 9, 2))
            labelled.label(next(iter(labelled.queue)), plate)
            labelled.work()

        interrupt(monkeypatch, meanwhile)
        version_id = labelled.request_training()
        labelled.work()

        remembered = select(ClassMemoryRow.category_id).where(ClassMemoryRow.model_version_id == version_id)
        assert plate in labelled.rows(remembered)
        assert set(late) <= set(labelled.predictions)

    def test_computes_features_that_are_missing(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        images = world.pictures(batch_id, [noise(seed) for seed in range(6)])
        for name, some in (("Cup", images[:3]), ("Bowl", images[3:])):
            category = world.category(name)
            for image in some:
                world.label(image, category)
        version_id = world.request_training()

        training.train(world.engine, version_id)

        embedded = select(Embedding.image_id).where(Embedding.model_version_id == version_id)
        assert set(world.rows(embedded)) == set(images)


class TestCancel:
    def test_stops_it_and_leaves_the_former_version_alone(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        former = labelled.version
        version_id = labelled.request_training()
        user = labelled.add(User(email=f"{uuid.uuid4()}@example.org", name="Owner", password_hash="none"))

        def cancel() -> None:
            with session_scope(labelled.engine.url) as session:
                versions.cancel(session, session.get_one(ModelVersion, version_id), user.id)

        interrupt(monkeypatch, cancel)
        labelled.work()

        assert labelled.version.id == former.id
        assert version_row(labelled, version_id).status is VersionStatus.CANCELLED
        assert labelled.job(version_id).state is JobState.CANCELLED


class TestFailure:
    def test_is_told_and_the_next_training_is_free(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise RuntimeError("out of luck")

        with monkeypatch.context() as patch:
            interrupt(patch, fail)
            version_id = labelled.request_training()
            labelled.work()

        failed = version_row(labelled, version_id)
        assert failed.status is VersionStatus.FAILED
        assert "Train again" in failed.error
        labelled.request_training()
        labelled.work()
        assert labelled.version.number == 3


class TestRepeats:
    def test_a_message_for_a_training_that_runs_does_nothing(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version_id = labelled.request_training()

        def again() -> None:
            other = threading.Thread(target=training.train, args=(labelled.engine, version_id))
            other.start()
            other.join()

        interrupt(monkeypatch, again)
        labelled.work()

        assert labelled.version.id == version_id
        assert labelled.job(version_id).attempts == 0

    def test_a_message_for_a_version_that_is_trained_does_nothing(self, labelled: World) -> None:
        version_id = labelled.request_training()
        labelled.work()
        trained_at = labelled.version.trained_at

        training.train(labelled.engine, version_id)

        assert labelled.version.trained_at == trained_at

    def test_a_worker_that_shuts_down_passes_it_on(
        self, labelled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version_id = labelled.request_training()
        interrupt(monkeypatch, labelled.engine.stopping.set)
        labelled.lose_messages()
        try:
            training.train(labelled.engine, version_id)
        finally:
            labelled.engine.stopping.clear()

        assert labelled.next_message() == (jobs.TRAIN, [str(version_id)])
        training.train(labelled.engine, version_id)
        assert labelled.version.id == version_id

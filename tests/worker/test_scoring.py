"""A batch gets its scores: once, whole, whatever happens in between."""

import hashlib
import threading
import uuid

import pytest
from sqlalchemy import String, func, literal_column, select
from world import World, noise

from server.batches.service import resume
from server.database import session_scope
from server.exploration import queries
from server.exploration.priorities import ReasonKind
from server.tables import (
    Batch,
    BatchKind,
    BatchStatus,
    Embedding,
    Feature,
    Image,
    Job,
    JobState,
    ModelVersion,
    Prediction,
    Verdict,
    VersionStatus,
)
from server.work.service import MAX_ATTEMPTS, fail
from worker import scoring


def predicted_by(world: World) -> dict[uuid.UUID, str]:
    """The transaction that has written each prediction last."""
    statement = select(Prediction.image_id, literal_column("predictions.xmin::text", String)).where(
        Prediction.model_version_id == world.version.id
    )
    with session_scope(world.engine.url) as session:
        return dict(session.execute(statement).all())


class TestUnlabelledBatch:
    def test_every_image_gets_features_scores_and_a_place_in_the_queue(self, world: World) -> None:
        batch_id = world.batch()
        images = world.pictures(batch_id, [noise(seed) for seed in range(20)])

        world.work()

        assert set(world.predictions) == set(images) == set(world.queue)
        assert world.rows(select(func.count()).select_from(Feature).where(Feature.image_id.in_(images))) == [
            20
        ]
        assert world.job(batch_id).state is JobState.DONE
        assert (world.job(batch_id).done, world.job(batch_id).total) == (20, 20)
        assert world.rows(select(Batch.status).where(Batch.id == batch_id)) == [BatchStatus.SCORED]

    def test_a_project_without_classes_gets_a_version_that_calls_everything_new(self, world: World) -> None:
        world.pictures(world.batch(), [noise(seed) for seed in range(5)])

        world.work()

        assert (world.version.number, world.version.status) == (1, VersionStatus.ACTIVE)
        assert all(not row.is_known and row.openness == 2.0 for row in world.predictions.values())
        assert {task.reason["kind"] for task in world.queue.values()} <= {
            ReasonKind.NO_CLASSES,
            ReasonKind.CONTROL,
        }

    def test_images_that_come_while_their_batch_is_scored_get_a_place_too(self, world: World) -> None:
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 4)
        world.work()
        early = world.pictures(batch_id, [noise(seed) for seed in range(3)])
        run = scoring._start(world.engine, batch_id)
        assert run is not None
        late = world.pictures(batch_id, [noise(seed) for seed in range(10, 13)])

        assert scoring._score_parts(run)
        assert scoring._finish_if_done(run)

        assert {*early, *late} <= set(world.queue)

    def test_again_changes_nothing(self, world: World) -> None:
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 30)
        world.work()
        before = predicted_by(world)

        with session_scope(world.engine.url) as session:
            world.ask_for_scores(session, batch_id)
        world.work()

        assert predicted_by(world) == before

    def test_works_in_slices_that_ask_for_the_next(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "PART", 8)
        monkeypatch.setattr(scoring, "SLICE_SECONDS", 0)
        batch_id = world.batch()
        images = world.look_alikes(batch_id, 1, 20)

        scoring.score_batch(world.engine, batch_id)
        state_after_one = world.job(batch_id).state
        world.work()

        assert state_after_one is JobState.RUNNING
        assert set(world.predictions) == set(images)
        assert world.job(batch_id).state is JobState.DONE

    @pytest.mark.parametrize("kind", BatchKind)
    def test_that_takes_many_slices_before_there_is_a_version_is_not_given_up(
        self, world: World, monkeypatch: pytest.MonkeyPatch, kind: BatchKind
    ) -> None:
        monkeypatch.setattr(scoring, "PART", 2)
        monkeypatch.setattr(scoring, "SLICE_SECONDS", 0)
        batch_id = world.batch(kind)
        count = 2 * (MAX_ATTEMPTS + 2)
        images = world.pictures(batch_id, [noise(seed) for seed in range(200, 200 + count)])

        world.work()

        assert world.job(batch_id).state is JobState.DONE
        assert set(world.rows(select(Feature.image_id).where(Feature.image_id.in_(images)))) == set(images)

    def test_images_wait_at_the_end_of_the_queue_until_their_scores_come(self, world: World) -> None:
        scored = world.look_alikes(world.batch(), 1, 5)
        world.work()
        batch_id = world.batch()
        late = world.look_alikes(batch_id, 1, 5)

        with session_scope(world.engine.url) as session:
            queries.queue_unscored(session, batch_id)

        assert set(list(world.queue)[:5]) == set(scored)
        assert {world.queue[image].reason["kind"] for image in late} == {ReasonKind.UNSCORED}


class TestLabelledBatch:
    def test_gets_features_alone_before_there_is_a_version(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        images = world.look_alikes(batch_id, 1, 5, world.category("Cup"))

        world.work()

        assert world.queue == {}
        assert world.rows(select(Prediction.image_id).where(Prediction.image_id.in_(images))) == []
        assert world.job(batch_id).state is JobState.DONE

    def test_is_remembered_as_soon_as_there_is_a_version_and_never_queued(self, world: World) -> None:
        cup = world.category("Cup")
        labelled = world.look_alikes(world.batch(BatchKind.LABELLED), 1, 5, cup)
        world.work()

        alike = world.look_alikes(world.batch(), 1, 5)
        world.work()

        assert set(world.predictions) == {*labelled, *alike}
        assert set(world.queue) == set(alike)
        assert {world.predictions[image].category_id for image in alike} == {cup}

    def test_what_it_leaves_open_waits_for_people(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        world.look_alikes(batch_id, 1, 5, world.category("Cup"))
        without_label, disputed = world.look_alikes(batch_id, 1, 2)
        with session_scope(world.engine.url) as session:
            session.get_one(Image, disputed).verdict = Verdict.CONFLICT

        world.work()

        assert set(world.queue) == {without_label, disputed}


class TestTrouble:
    def test_an_image_whose_file_is_gone_spoils_no_other(self, world: World) -> None:
        batch_id = world.batch()
        images = world.pictures(batch_id, [noise(seed) for seed in range(40, 50)])
        lost = world.pictures(batch_id, [noise(99)])[0]
        name = hashlib.sha256(noise(99)).hexdigest()
        for file in world.engine.settings.images_folder.rglob(name):
            file.unlink()

        world.work()

        assert set(images) == set(world.predictions)
        assert set(world.queue) == {*images, lost}
        assert world.job(batch_id).state is JobState.FAILED
        assert "1 image could not be read" in world.job(batch_id).error
        assert world.rows(select(Batch.status).where(Batch.id == batch_id)) == [BatchStatus.SCORED]

    def test_a_version_of_another_device_scores_nothing_and_says_the_mend(self, world: World) -> None:
        scored = world.look_alikes(world.batch(), 1, 5)
        world.work()
        with session_scope(world.engine.url) as session:
            session.get_one(ModelVersion, world.version.id).runtime_key = "torch-float16"
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 5)

        world.work()

        assert set(world.predictions) == set(scored)
        assert world.job(batch_id).state is JobState.FAILED
        assert "train again" in world.job(batch_id).error
        assert world.rows(select(Batch.status).where(Batch.id == batch_id)) == [BatchStatus.FAILED]

    def test_two_tasks_for_one_batch_at_once_double_nothing(self, world: World) -> None:
        batch_id = world.batch()
        images = world.pictures(batch_id, [noise(seed) for seed in range(100, 140)])
        world.lose_messages()
        errors: list[BaseException] = []

        def score() -> None:
            try:
                scoring.score_batch(world.engine, batch_id)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=score) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.work()

        assert errors == []
        assert set(world.predictions) == set(images)
        assert world.rows(
            select(func.count()).select_from(Embedding).where(Embedding.image_id.in_(images))
        ) == [40]

    def test_images_that_come_while_it_finishes_are_scored_too(self, world: World) -> None:
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 5)
        world.work()
        more = world.look_alikes(batch_id, 1, 5)

        world.work()

        assert set(more) <= set(world.predictions)

    def test_a_cancelled_job_stops(self, world: World) -> None:
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 5)
        with session_scope(world.engine.url) as session:
            job = session.scalars(select(Job).where(Job.target_id == batch_id)).one()
            job.state = JobState.CANCELLED

        world.work()

        assert world.rows(select(Prediction.image_id).where(Prediction.batch_id == batch_id)) == []

    def test_a_batch_that_failed_goes_on_when_somebody_asks(self, world: World) -> None:
        batch_id = world.batch()
        images = world.look_alikes(batch_id, 1, 5)
        world.lose_messages()
        with session_scope(world.engine.url) as session:
            job = session.scalars(select(Job).where(Job.target_id == batch_id)).one()
            fail(session, job, "The worker died.")

        with session_scope(world.engine.url) as session:
            resume(session, world.engine.settings, session.get_one(Batch, batch_id))
        world.work()

        assert set(world.predictions) == set(images)
        assert world.job(batch_id).state is JobState.DONE

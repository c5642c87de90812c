"""What a lost broker or a dead worker dropped is done all the same."""

import os
import time
import uuid
from datetime import timedelta
from io import BytesIO

import pytest
from sqlalchemy import select, update
from world import World

from server.batches.spool import Spool
from server.database import session_scope
from server.exploration.queries import list_to_rescore, mark_scored
from server.projects import service as projects
from server.tables import (
    AnnotationTask,
    BatchKind,
    ClassMemoryRow,
    Job,
    JobState,
    ModelVersion,
    Project,
    TaskState,
    User,
    VersionStatus,
)
from server.tables.base import utc_now
from server.work.service import SILENCE
from worker.reconciling import reconcile

pytestmark = pytest.mark.usefixtures("short_training")


def fall_silent(world: World, **values: object) -> None:
    """Let the unfinished jobs of the project look as if nobody had worked on them for a while."""
    long_ago = utc_now() - SILENCE - timedelta(seconds=1)
    with session_scope(world.engine.url) as session:
        session.execute(
            update(Job)
            .where(Job.project_id == world.project_id, Job.state.in_([JobState.QUEUED, JobState.RUNNING]))
            .values(created_at=long_ago, heartbeat_at=long_ago, **values)
        )


def change_rules(world: World, **changes: object) -> None:
    """Somebody changes settings of the queue."""
    somebody = world.add(User(email=f"{uuid.uuid4()}@example.org", name="O", password_hash=""))
    with session_scope(world.engine.url) as session:
        projects.update(session, somebody, session.get_one(Project, world.project_id), changes)


class TestLostMessages:
    def test_of_a_batch_are_sent_again(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 5)
        world.lose_messages()
        fall_silent(world)

        reconcile(world.engine)
        world.work()

        assert set(world.predictions) == set(images)

    def test_of_a_label_are_sent_again(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 5)
        world.work()
        cup = world.category("Cup")
        world.label(images[0], cup, send=False)

        reconcile(world.engine)
        world.work()

        assert {row.category_id for row in world.predictions.values()} == {cup}

    def test_of_a_withdrawal_are_sent_again(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 5)
        world.work()
        world.label(images[0], world.category("Cup"))
        world.work()
        world.label(images[0], None, send=False)

        reconcile(world.engine)
        world.work()

        assert (
            world.rows(select(ClassMemoryRow).where(ClassMemoryRow.model_version_id == world.version.id))
            == []
        )

    def test_of_an_exchange_of_one_image_for_another_are_noticed(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 5)
        world.work()
        cup = world.category("Cup")
        world.label(images[0], cup)
        world.work()
        world.label(images[0], None, send=False)
        world.label(images[1], cup, send=False)

        reconcile(world.engine)
        world.work()

        row = world.rows(select(ClassMemoryRow).where(ClassMemoryRow.category_id == cup))[0]
        assert row.exemplar_image_id == images[1]

    def test_of_a_training_are_sent_again(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        for kind, name in enumerate(("Cup", "Bowl")):
            world.look_alikes(batch_id, kind, 3, world.category(name))
        world.work()
        version_id = world.request_training()
        world.lose_messages()
        fall_silent(world)

        reconcile(world.engine)
        world.work()

        assert world.version.id == version_id

    def test_of_a_queue_out_of_date_are_sent_again(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 5)
        world.work()
        world.label(images[0], world.category("Cup"))
        world.do(world.next_message())
        world.lose_messages()
        assert world.version.scored_revision < world.version.memory_revision

        reconcile(world.engine)
        world.work()

        assert world.version.scored_revision == world.version.memory_revision

    def test_of_a_changed_rule_of_the_queue_are_sent_again(self, world: World) -> None:
        world.look_alikes(world.batch(), 1, 5)
        world.work()
        change_rules(world, round_size=2)
        world.lose_messages()

        reconcile(world.engine)
        world.work()

        assert [task.reason["rank"] for task in world.queue.values()] == [1, 2, None, None, None]
        assert world.version.scored_revision == world.version.memory_revision

    @pytest.mark.parametrize("times", [1, 2])
    def test_of_a_rule_that_changed_while_a_pass_ran_are_sent_again(self, world: World, times: int) -> None:
        world.look_alikes(world.batch(), 1, 5)
        world.work()
        for strategy in ("random", "free_energy")[:times]:
            before = world.version.scored_revision
            change_rules(world, strategy=strategy)

        with session_scope(world.engine.url) as session:
            mark_scored(session, world.version.id, world.version.memory_revision, before=before)

            assert world.project_id in list_to_rescore(session)


class TestQuiet:
    def test_nothing_is_sent_where_nothing_is_missing(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 80)
        world.work()
        world.label(images[0], world.category("Cup"))
        world.work()

        reconcile(world.engine)

        mine = []
        while message := world.next_message():
            mine += [message for argument in message[1] if argument == str(world.project_id)]
        assert mine == []


class TestHolds:
    def test_that_have_run_out_are_freed(self, world: World) -> None:
        world.look_alikes(world.batch(), 1, 3)
        world.work()
        image = next(iter(world.queue))
        with session_scope(world.engine.url) as session:
            session.execute(
                update(AnnotationTask)
                .where(AnnotationTask.image_id == image)
                .values(state=TaskState.LEASED, lease_expires_at=utc_now() - timedelta(seconds=1))
            )

        reconcile(world.engine)

        assert world.queue[image].state is TaskState.OPEN


class TestLostUploads:
    @pytest.mark.parametrize(
        ("days", "has_batch", "is_kept"), [(2, False, False), (2, True, True), (0, False, True)]
    )
    def test_archives_of_a_batch_that_never_came_are_removed_a_day_later(
        self, world: World, days: int, has_batch: bool, is_kept: bool
    ) -> None:
        spool = Spool(world.engine.settings.home)
        batch_id = world.batch() if has_batch else uuid.uuid4()
        archive = spool.add(batch_id, BytesIO(b"PK"))
        then = time.time() - days * 86_400
        os.utime(archive.parent, (then, then))

        reconcile(world.engine)

        assert archive.exists() is is_kept


class TestGivingUp:
    def test_a_batch_that_kills_its_worker_again_and_again_fails(self, world: World) -> None:
        batch_id = world.batch()
        world.look_alikes(batch_id, 1, 3)
        world.lose_messages()
        fall_silent(world, attempts=5, state=JobState.RUNNING)

        reconcile(world.engine)
        world.work()

        assert world.job(batch_id).state is JobState.FAILED
        assert "Tried 5 times" in world.job(batch_id).error

    def test_a_training_that_does_so_fails_with_its_version(self, world: World) -> None:
        batch_id = world.batch(BatchKind.LABELLED)
        for kind, name in enumerate(("Cup", "Bowl")):
            world.look_alikes(batch_id, kind, 3, world.category(name))
        world.work()
        version_id = world.request_training()
        world.lose_messages()
        fall_silent(world, attempts=5, state=JobState.RUNNING)

        reconcile(world.engine)
        world.work()

        version = world.rows(select(ModelVersion).where(ModelVersion.id == version_id))[0]
        assert version.status is VersionStatus.FAILED
        assert "Tried 5 times" in version.error

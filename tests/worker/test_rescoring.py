"""The queue is arranged by the project's strategy, and arranged anew when the memory changes."""

import threading
import uuid
from typing import Any

import pytest
from sqlalchemy import select, update
from world import World

from server import jobs
from server.annotations import queries
from server.database import session_scope
from server.exploration.priorities import ROUND_FLOOR, ReasonKind
from server.tables import AnnotationTask, Project, TaskState
from server.tables.base import utc_now
from worker.engine import Engine
from worker.rescoring import rescore


def answer(world: World, images: list[uuid.UUID], state: TaskState = TaskState.DONE) -> None:
    """Take images out of the queue."""
    with session_scope(world.engine.url) as session:
        session.execute(update(AnnotationTask).where(AnnotationTask.image_id.in_(images)).values(state=state))


def waiting(world: World) -> list[AnnotationTask]:
    """Tasks that wait, in the order in which they are served."""
    return [task for task in world.queue.values() if task.state is TaskState.OPEN]


def project(engine: Engine, **settings: Any) -> World:
    """A project with these settings of its queue."""
    engine.redis.flushdb()
    return World(engine, **settings)


class TestRound:
    def test_offers_the_most_typical_image_of_each_group_and_then_the_rest_by_free_energy(
        self, engine: Engine
    ) -> None:
        world = project(engine, round_size=4, control_share=0)
        batch_id = world.batch()
        kinds = [world.look_alikes(batch_id, kind, 12 - kind) for kind in range(4)]
        world.work()

        served = list(world.queue.values())

        groups = [[task.image_id in kind for kind in kinds].index(True) for task in served[:4]]
        assert sorted(groups) == [0, 1, 2, 3]
        assert [task.reason["rank"] for task in served[:4]] == [1, 2, 3, 4]
        assert [task.reason["group_size"] for task in served[:4]] == [12, 11, 10, 9]
        assert all(task.priority > ROUND_FLOOR for task in served[:4])
        assert all(task.priority < ROUND_FLOOR and task.reason["rank"] is None for task in served[4:])
        rest = [task.reason["free_energy"] for task in served[4:]]
        assert rest == sorted(rest, reverse=True)

    def test_leads_away_from_what_has_been_labelled(self, engine: Engine) -> None:
        world = project(engine, round_size=3, control_share=0)
        batch_id = world.batch()
        kinds = [world.look_alikes(batch_id, kind, 20) for kind in range(3)]
        world.work()
        for kind, name in zip(kinds[:2], ("Cup", "Bowl"), strict=True):
            category = world.category(name)
            for image in kind[:2]:
                world.label(image, category)
                answer(world, [image])

        world.work()

        served = waiting(world)
        assert served[0].image_id in kinds[2]
        assert served[0].reason["kind"] == ReasonKind.NEW
        assert served[0].reason["categories"] == 2
        assert 0 < served[0].reason["usual_limit"] < served[0].reason["distance"]

    def test_a_new_one_is_chosen_when_it_is_used_up(self, engine: Engine) -> None:
        world = project(engine, round_size=2, control_share=0)
        world.look_alikes(world.batch(), 1, 10)
        world.work()
        answer(world, list(world.queue)[:2])

        jobs.celery_app().send_task(jobs.RECONCILE, queue=jobs.LIVE_QUEUE)
        world.work()

        assert [task.reason["rank"] for task in waiting(world)[:3]] == [1, 2, None]


class TestControls:
    def test_one_in_four_served_is_drawn_at_random_if_the_share_says_so(self, engine: Engine) -> None:
        world = project(engine, round_size=8, control_share=0.25)
        world.look_alikes(world.batch(), 1, 40)
        world.work()

        served = list(world.queue.values())

        assert [task.is_control for task in served[:8]] == [False, False, False, True] * 2
        assert {task.reason["kind"] for task in served if task.is_control} == {ReasonKind.CONTROL}

    def test_the_share_holds_however_often_the_queue_is_arranged_anew(self, engine: Engine) -> None:
        world = project(engine, round_size=8, control_share=0.25)
        world.look_alikes(world.batch(), 1, 40)
        world.work()
        served = []
        for _ in range(12):
            head = waiting(world)[0]
            served.append(head.is_control)
            answer(world, [head.image_id])
            rescore(world.engine, world.project_id)

        assert served == [False, False, False, True] * 3


class TestSettings:
    @pytest.mark.parametrize(
        ("strategy", "gate"),
        [
            ("frontier", "openness"),
            ("frontier", "unknown_score"),
            ("free_energy", "free_energy"),
            ("random", "free_energy"),
        ],
    )
    def test_every_strategy_and_gate_fills_the_round(self, engine: Engine, strategy: str, gate: str) -> None:
        world = project(engine, round_size=5, control_share=0, strategy=strategy, gate=gate)
        batch_id = world.batch()
        images = world.look_alikes(batch_id, 1, 8) + world.look_alikes(batch_id, 2, 8)
        world.label(images[0], world.category("Cup"))
        answer(world, images[:1])
        world.work()

        served = waiting(world)

        assert [task.reason["rank"] for task in served[:6]] == [1, 2, 3, 4, 5, None]
        assert {task.reason["strategy"] for task in served} == {strategy}
        assert {task.reason["gate"] for task in served} == {gate}

    def test_a_change_of_them_is_followed_at_the_next_pass(self, world: World) -> None:
        world.look_alikes(world.batch(), 1, 10)
        world.work()
        with session_scope(world.engine.url) as session:
            session.get_one(Project, world.project_id).round_size = 3

        rescore(world.engine, world.project_id)

        assert [task.priority > ROUND_FLOOR for task in world.queue.values()] == [True] * 3 + [False] * 7


class TestHeldImages:
    def test_are_left_alone(self, world: World) -> None:
        images = world.look_alikes(world.batch(), 1, 10)
        world.work()
        held = next(iter(world.queue))
        answer(world, [held], TaskState.LEASED)
        before = world.queue[held].reason

        world.label(images[-1] if images[-1] != held else images[0], world.category("Cup"))
        world.work()

        assert world.queue[held].reason == before


class TestClaims:
    def test_wait_for_a_head_that_is_being_written_instead_of_passing_it_over(self, world: World) -> None:
        world.look_alikes(world.batch(), 1, 10)
        world.work()
        first = next(iter(world.queue))
        claimed: list[uuid.UUID] = []

        def claim() -> None:
            with session_scope(world.engine.url) as session:
                queries.prepare_claim(session, world.project_id, durable=False, holder=None)
                statement = select(AnnotationTask.image_id).where(
                    AnnotationTask.project_id == world.project_id
                )
                head = statement.order_by(AnnotationTask.priority.desc()).limit(1)
                claimed.extend(session.scalars(head.with_for_update(skip_locked=True)))

        with session_scope(world.engine.url) as session:
            queries.hold_claims(session, world.project_id)
            session.execute(update(AnnotationTask).values(created_at=utc_now()))
            claimant = threading.Thread(target=claim)
            claimant.start()
            claimant.join(timeout=0.3)
            assert claimed == []
        claimant.join()

        assert claimed == [first]


class TestRequests:
    def test_while_a_pass_runs_are_answered_by_one_more(self, world: World) -> None:
        world.look_alikes(world.batch(), 1, 5)
        world.work()
        for _ in range(3):
            world.engine.redis.set(f"newfound:rescore:{world.project_id}", 1)
        rescore(world.engine, world.project_id)

        assert not world.engine.redis.exists(f"newfound:rescore:{world.project_id}")

    def test_without_images_or_version_there_is_nothing_to_do(self, world: World) -> None:
        rescore(world.engine, world.project_id)

        assert world.queue == {}

"""Holding images: order, tabs, skips, expiry, many people at once."""

import threading
import time
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pool import Pool
from sqlalchemy import func, select, text, update

from server.annotations import queries, service
from server.annotations.schemas import ClaimOut
from server.database import session_scope
from server.errors import Conflict, NotFound
from server.permissions import Role
from server.tables import Annotation, AnnotationTask, CategoryStatus, TaskState, Verdict


@pytest.fixture
def pool(session):
    return Pool(session)


@pytest.fixture
def anna(pool):
    return pool.person().user


@pytest.fixture
def ben(pool):
    return pool.person().user


def claim(pool, user, holder=None):
    return service.claim_next(pool.session, pool.project, user, holder)


def claimed(pool, user, holder=None):
    task = claim(pool, user, holder)["task"]
    return task and task["id"]


def task_token(task):
    return UUID(task["token"])


def expire(pool, task_id):
    """Let the hold of a task have run out a minute ago."""
    pool.session.execute(
        update(AnnotationTask)
        .where(AnnotationTask.id == task_id)
        .values(lease_expires_at=func.now() - timedelta(minutes=1))
    )


class TestClaim:
    def test_highest_priority_first(self, pool, anna, ben):
        low, high, middle = (pool.task(priority=priority) for priority in (0.1, 0.9, 0.5))
        assert [claimed(pool, person) for person in (anna, ben, anna)] == [
            str(task.id) for task in (high, middle, low)
        ]

    def test_an_empty_queue_says_who_holds_the_rest(self, pool, anna, ben):
        pool.queue(1)
        claim(pool, ben)
        answer = claim(pool, anna)
        assert answer["task"] is None
        assert (answer["waiting"], answer["held_by_others"]) == (0, 1)

    def test_what_i_hold_in_another_tab_is_not_held_by_others(self, pool, anna):
        pool.queue(1)
        claim(pool, anna)
        assert claim(pool, anna)["held_by_others"] == 0

    def test_other_projects_are_not_served(self, pool, session, anna):
        Pool(session, "Moths").queue(3)
        assert claimed(pool, anna) is None

    def test_what_waits_and_what_comes_next(self, pool, anna):
        tasks = pool.queue(6)
        answer = claim(pool, anna)
        assert answer["waiting"] == 5
        assert answer["waiting_is_more"] is False
        assert [one["image_id"] for one in answer["upcoming"]] == [str(t.image_id) for t in tasks[1:4]]

    def test_a_long_queue_is_not_counted_to_its_end(self, pool, anna):
        pool.long_queue(1200)
        answer = claim(pool, anna)
        assert (answer["waiting"], answer["waiting_is_more"]) == (1000, True)

    def test_the_hold_ends_when_the_project_says(self, session):
        pool = Pool(session, hold_seconds=120)
        pool.queue(1)
        task = claim(pool, pool.person().user)["task"]
        assert task["seconds_left"] == pytest.approx(120, abs=2)


class TestHolder:
    def test_a_reload_gets_the_same_image_with_its_time_renewed(self, pool, anna):
        pool.queue(2)
        tab = uuid4()
        first = claim(pool, anna, tab)["task"]
        expire(pool, first["id"])
        again = claim(pool, anna, tab)["task"]
        assert (again["id"], again["token"]) == (first["id"], first["token"])
        assert again["seconds_left"] > 290

    def test_two_tabs_of_one_person_get_two_images(self, pool, anna):
        pool.queue(2)
        assert claimed(pool, anna, uuid4()) != claimed(pool, anna, uuid4())

    def test_the_same_holder_id_of_another_person_gets_nothing_of_mine(self, pool, anna, ben):
        pool.queue(2)
        tab = uuid4()
        assert claimed(pool, anna, tab) != claimed(pool, ben, tab)

    def test_without_holder_each_claim_is_a_new_image(self, pool, anna):
        pool.queue(2)
        assert claimed(pool, anna) != claimed(pool, anna)


class TestSkip:
    def test_a_skipped_image_goes_to_others_first(self, pool, anna, ben):
        first, second = pool.queue(2)
        task = claim(pool, anna)["task"]
        service.skip(pool.session, pool.project, anna, first.id, task_token(task))
        assert claimed(pool, anna) == str(second.id)
        assert claimed(pool, ben) == str(first.id)

    def test_who_skipped_all_that_is_left_gets_it_again_and_is_told(self, pool, anna):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        service.skip(pool.session, pool.project, anna, only.id, task_token(task))
        answer = claim(pool, anna)
        assert answer["task"]["id"] == str(only.id)
        assert answer["skipped_again"] is True

    def test_a_skip_sent_twice_is_one_skip(self, pool, anna, ben):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        service.skip(pool.session, pool.project, anna, only.id, task_token(task))
        theirs = claim(pool, ben)["task"]
        service.skip(pool.session, pool.project, anna, only.id, task_token(task))
        assert pool.tasks()[0].lease_token == task_token(theirs)
        assert pool.tasks()[0].state is TaskState.LEASED


class TestExpiry:
    def test_an_expired_hold_is_taken_over_when_nothing_else_waits(self, pool, anna, ben):
        (only,) = pool.queue(1)
        claim(pool, anna)
        assert claimed(pool, ben) is None
        expire(pool, only.id)
        assert claimed(pool, ben) == str(only.id)

    def test_the_clock_frees_expired_holds_only(self, pool, anna, ben):
        first, second = pool.queue(2)
        claim(pool, anna), claim(pool, ben)
        expire(pool, first.id)
        assert service.free_expired(pool.session) == 1
        states = {task.id: task.state for task in pool.tasks()}
        assert states == {first.id: TaskState.OPEN, second.id: TaskState.LEASED}


class TestRenewAndRelease:
    def test_renew_starts_the_time_anew(self, pool, anna):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        expire(pool, only.id)
        hold = service.renew(pool.session, pool.project, anna, only.id, task_token(task))
        assert hold.seconds_left == 300
        assert service.free_expired(pool.session) == 0

    def test_renew_of_a_hold_that_somebody_else_has_is_told(self, pool, anna, ben):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        expire(pool, only.id)
        claim(pool, ben)
        with pytest.raises(Conflict) as told:
            service.renew(pool.session, pool.project, anna, only.id, task_token(task))
        assert told.value.code == "hold-lost"

    def test_renew_of_a_freed_hold_takes_it_again(self, pool, anna, ben):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        expire(pool, only.id)
        service.free_expired(pool.session)
        service.renew(pool.session, pool.project, anna, only.id, task_token(task))
        assert claimed(pool, ben) is None

    def test_release_gives_the_image_to_the_next(self, pool, anna, ben):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        service.release(pool.session, pool.project, anna, only.id, task_token(task))
        assert claimed(pool, ben) == str(only.id)

    def test_release_of_what_is_no_longer_mine_changes_nothing(self, pool, anna, ben):
        (only,) = pool.queue(1)
        task = claim(pool, anna)["task"]
        expire(pool, only.id)
        claim(pool, ben)
        service.release(pool.session, pool.project, anna, only.id, task_token(task))
        assert pool.tasks()[0].state is TaskState.LEASED

    def test_a_task_of_another_project_is_not_found(self, pool, session, anna):
        (other,) = Pool(session, "Moths").queue(1)
        with pytest.raises(NotFound):
            service.renew(session, pool.project, anna, other.id, uuid4())


class TestCard:
    def test_reason_scores_and_suggestions_nearest_first(self, pool, anna):
        pool.activate_version()
        mango = pool.category("Mango", (1.0, 0.0, 0.0))
        pear = pool.category("Pear", (0.0, 1.0, 0.0))
        image = pool.image("shelf/7.jpg", at=(0.8, 0.6, 0.0), top=[(pear.id, 0.25), (mango.id, 0.5)])
        pool.task(
            image,
            kind="new",
            nearest_id=str(mango.id),
            distance=0.87,
            usual_limit=0.52,
            categories=2,
        )
        card = claim(pool, anna)["task"]
        assert card["flag"] == "new"
        assert card["reason"]["sentence"] == (
            "Unlike any of the 2 known categories. "
            "The nearest is Mango, 0.87 away; its images usually lie within 0.52."
        )
        assert card["image"]["name"] == "shelf/7.jpg"
        assert card["scores"] == {
            "unknown_score": pytest.approx(0.8),
            "openness": pytest.approx(0.87),
            "informativeness": pytest.approx(0.91),
            "free_energy": pytest.approx(0.74),
            "version_number": 1,
            "memory_revision": 3,
        }
        assert [one["name"] for one in card["suggestions"]] == ["Mango", "Pear"]
        assert card["suggestions"][0] == {
            "category_id": str(mango.id),
            "name": "Mango",
            "count": 7,
            "distance": pytest.approx((0.2**2 + 0.6**2) ** 0.5, abs=1e-3),
            "usual_limit": 0.5,
            "probability": 0.5,
            "exemplar_url": None,
        }

    def test_a_rename_shows_at_once(self, pool, anna):
        pool.activate_version()
        mango = pool.category("Mango", (1.0, 0.0, 0.0))
        pool.task(
            pool.image(at=(0, 1, 0)), kind="new", nearest_id=str(mango.id), distance=1.4, usual_limit=0.5
        )
        mango.name = "Mango, ripe"
        pool.session.flush()
        card = claim(pool, anna)["task"]
        assert "Mango, ripe" in card["reason"]["sentence"]
        assert card["suggestions"][0]["name"] == "Mango, ripe"

    def test_a_class_that_came_since_the_scores_is_suggested(self, pool, anna):
        pool.activate_version()
        pool.category("Mango", (1.0, 0.0, 0.0))
        pool.task(pool.image(at=(0, 1, 0)))
        pool.category("Oat milk", (0.0, 1.0, 0.0))
        assert claim(pool, anna)["task"]["suggestions"][0]["name"] == "Oat milk"

    def test_at_most_five_suggestions_and_no_retired_one(self, pool, anna):
        pool.activate_version()
        pool.category("Gone", (0.0, 1.0, 0.0), status=CategoryStatus.RETIRED)
        for number in range(7):
            pool.category(f"Class {number}", (1.0, 0.0, number / 10))
        pool.task(pool.image(at=(0, 1, 0)))
        names = [one["name"] for one in claim(pool, anna)["task"]["suggestions"]]
        assert names == [f"Class {number}" for number in range(5)]

    def test_a_project_without_classes_or_scores_still_serves(self, pool, anna):
        pool.queue(1)
        card = claim(pool, anna)["task"]
        assert (card["flag"], card["scores"], card["suggestions"]) == ("unscored", None, [])

    def test_the_answer_is_what_the_documentation_says(self, pool, anna):
        pool.activate_version()
        pool.category("Mango", (1.0, 0.0, 0.0))
        pool.task(pool.image(at=(0, 1, 0)), priority=1.0, kind="new")
        pool.queue(3)
        answer = ClaimOut.model_validate(claim(pool, anna))
        assert answer.task is not None
        assert ClaimOut.model_validate(claim(pool, anna)).task.scores is None


class TestSummary:
    def test_counts(self, pool, anna, ben):
        pool.activate_version()
        for score in (0.9, 0.6, 0.52, 0.1):
            pool.task(pool.image(at=(1, 0, 0), unknown_score=score), priority=score)
        pool.queue(2)
        held = claim(pool, anna)["task"]
        service.submit(
            pool.session, pool.project, anna, held["id"], task_token(held),
            service.Answer(Verdict.CANNOT_TELL),
        )  # fmt: skip
        claim(pool, ben)
        summary = service.summarise(pool.session, pool.project, ben)
        assert summary == {
            "waiting": 4,
            "new": 0,
            "uncertain": 1,
            "held": 1,
            "labelled_today": 1,
            "mine_today": 0,
        }


class TestPlan:
    """The claim stays cheap however long the queue is."""

    @pytest.mark.parametrize("is_analysed", [True, False])
    @pytest.mark.parametrize("statement", [queries.CLAIM_HEAD, queries.CLAIM_SKIPPED])
    def test_it_reads_the_head_of_the_queue_index(self, settings, statement, is_analysed):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            person = pool.person().user
            pool.long_queue(20_000)
        values = {
            "project_id": pool.project.id,
            "user_id": person.id,
            "holder": None,
            "token": uuid4(),
            "hold_seconds": 300,
        }
        with session_scope(settings.database_url) as session:
            if is_analysed:
                session.execute(text("ANALYZE annotation_tasks"))
            lines = session.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS) {statement}"), values).all()
        plan = "\n".join(lines)
        assert "ix_annotation_tasks_queue" in plan
        assert "Sort" not in plan
        assert "Seq Scan on annotation_tasks" not in plan


class TestManyAtOnce:
    @pytest.fixture
    def shared(self, settings):
        """A committed queue of 60 images and eight people."""
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            pool.queue(60)
            people = [pool.person().user for _ in range(8)]
        return pool.project, people

    def test_eight_people_never_get_the_same_image(self, settings, shared):
        project, people = shared
        served, lock = [], threading.Lock()
        start = threading.Barrier(len(people))

        def label(person):
            start.wait()
            while True:
                with session_scope(settings.database_url) as session:
                    task = service.claim_next(session, project, person, uuid4())["task"]
                if task is None:
                    return
                with lock:
                    served.append(task["id"])

        run_together(label, people)
        assert len(served) == 60
        assert max(Counter(served).values()) == 1

    def test_labelling_together_stores_each_answer_once(self, settings, shared):
        project, people = shared
        start = threading.Barrier(len(people))

        def label(person):
            start.wait()
            holder = uuid4()
            with session_scope(settings.database_url) as session:
                task = service.claim_next(session, project, person, holder)["task"]
            while task:
                with session_scope(settings.database_url) as session:
                    service.submit(
                        session, project, person, task["id"], task_token(task),
                        service.Answer(Verdict.NOT_OF_INTEREST),
                    )  # fmt: skip
                    task = service.claim_next(session, project, person, holder, durable=True)["task"]

        run_together(label, people)
        with session_scope(settings.database_url) as session:
            count, images = session.execute(
                select(func.count(), func.count(Annotation.image_id.distinct())).where(
                    Annotation.project_id == project.id
                )
            ).one()
        assert (count, images) == (60, 60)

    def test_one_tab_that_asks_eight_times_at_once_holds_one_image(self, settings, shared):
        project, (person, *_) = shared
        tab, served = uuid4(), []

        def ask(_):
            with session_scope(settings.database_url) as session:
                served.append(service.claim_next(session, project, person, tab)["task"]["id"])

        run_together(ask, range(8))
        assert len(served) == 8
        assert len(set(served)) == 1


def run_together(work, arguments):
    """Run ``work`` on each argument in a thread of its own; an error in one fails the test."""
    errors = []

    def guarded(argument):
        try:
            work(argument)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive()
    assert errors == []


class TestEndpoints:
    @pytest.fixture
    def world(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            pool.queue(5)
            people = {"anna": pool.person(Role.ANNOTATOR)}
        return pool, people

    def test_claim_without_a_body(self, client, world):
        pool, people = world
        answer = client.post(
            f"/api/v1/projects/{pool.project.id}/queue/claim", headers=people["anna"].headers
        )
        assert answer.status_code == 200
        assert ClaimOut.model_validate(answer.json()).task is not None

    def test_a_held_image_can_be_looked_at_again_by_its_holder_only(self, client, world, settings):
        pool, people = world
        url = f"/api/v1/projects/{pool.project.id}/queue"
        task = client.post(f"{url}/claim", headers=people["anna"].headers).json()["task"]
        again = client.get(f"{url}/{task['id']}", headers=people["anna"].headers)
        assert again.json()["token"] == task["token"]
        with session_scope(settings.database_url) as session:
            pool.session = session
            ben = pool.person(Role.OWNER)
        assert client.get(f"{url}/{task['id']}", headers=ben.headers).status_code == 404

    def test_skip_renew_and_release(self, client, world):
        pool, people = world
        url, headers = f"/api/v1/projects/{pool.project.id}/queue", people["anna"].headers
        task = client.post(f"{url}/claim", headers=headers).json()["task"]
        token = {"token": task["token"]}
        renewed = client.post(f"{url}/{task['id']}/renew", json=token, headers=headers)
        assert renewed.json()["seconds_left"] == 300
        skipped = client.post(f"{url}/{task['id']}/skip", json=token | {"claim_next": True}, headers=headers)
        following = skipped.json()["next"]["task"]
        assert following["id"] != task["id"]
        released = client.post(
            f"{url}/{following['id']}/release", json={"token": following["token"]}, headers=headers
        )
        assert (released.status_code, released.content) == (204, b"")

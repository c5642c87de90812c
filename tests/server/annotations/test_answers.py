"""Answers: stored once, kept when late, named with care, taken back."""

import threading
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pool import Pool
from sqlalchemy import func, select, update

from server.annotations import service
from server.annotations.schemas import SubmitOut, UndoOut
from server.annotations.service import Answer
from server.categories import service as categories
from server.categories.check import NameQuestion
from server.database import session_scope
from server.errors import Conflict, InvalidInput
from server.jobs import UPDATE_MEMORY
from server.permissions import Role
from server.tables import (
    Alias,
    AliasKind,
    Annotation,
    AnnotationTask,
    Category,
    CategoryStatus,
    Image,
    LabelSource,
    TaskState,
    Verdict,
)


@pytest.fixture
def pool(session):
    return Pool(session)


@pytest.fixture
def anna(pool):
    return pool.person().user


@pytest.fixture
def ben(pool):
    return pool.person().user


class Held:
    """An image in somebody's hand."""

    def __init__(self, pool, person, holder=None):
        self.pool, self.person = pool, person
        task = service.claim_next(pool.session, pool.project, person, holder)["task"]
        self.id, self.token, self.image_id = (
            UUID(one) for one in (task["id"], task["token"], task["image"]["id"])
        )

    def submit(self, verdict, category=None, **fields):
        answer = Answer(verdict, category_id=category and category.id, **fields)
        return service.submit(self.pool.session, self.pool.project, self.person, self.id, self.token, answer)

    def expire(self):
        self.pool.session.execute(
            update(AnnotationTask)
            .where(AnnotationTask.id == self.id)
            .values(lease_expires_at=func.now() - timedelta(minutes=1))
        )

    @property
    def task(self):
        return self.pool.session.get(AnnotationTask, self.id, populate_existing=True)

    @property
    def label(self):
        image = self.pool.session.get(Image, self.image_id, populate_existing=True)
        return image.verdict, image.category_id


def annotations(pool):
    return pool.session.scalars(
        select(Annotation).where(Annotation.project_id == pool.project.id).order_by(Annotation.created_at)
    ).all()


def queued_updates(session):
    """Categories whose memory is brought up to date after the commit."""
    return {UUID(args[1]) for name, args in session.info.get("jobs", {}) if name == UPDATE_MEMORY}


class TestSubmit:
    def test_a_known_image(self, pool, anna):
        pool.queue(1)
        mango = pool.category("Mango")
        held = Held(pool, anna)
        receipt = held.submit(Verdict.KNOWN, mango)
        assert (receipt.category, receipt.is_created, receipt.is_repeated) == (mango, False, False)
        assert held.label == (Verdict.KNOWN, mango.id)
        assert held.task.state is TaskState.DONE
        assert queued_updates(pool.session) == {mango.id}

    def test_a_known_image_by_exact_name_or_alias(self, pool, anna):
        pool.queue(2)
        mango = pool.category("Mango")
        pool.session.add(
            Alias(
                project_id=pool.project.id, category_id=mango.id, name="Mangga", name_key="mangga",
                kind=AliasKind.ALIAS,
            )
        )  # fmt: skip
        pool.session.flush()
        assert Held(pool, anna).submit(Verdict.KNOWN, name="  mango ").category is mango
        assert Held(pool, anna).submit(Verdict.KNOWN, name="MANGGA").category is mango

    def test_an_unknown_name_for_a_known_image_is_refused_with_the_mend(self, pool, anna):
        pool.queue(1)
        held = Held(pool, anna)
        with pytest.raises(InvalidInput, match="No category goes by the name Mango"):
            held.submit(Verdict.KNOWN, name="Mango")
        assert held.task.state is TaskState.LEASED

    def test_a_category_of_another_project_is_refused(self, pool, session, anna):
        pool.queue(1)
        foreign = Pool(session, "Moths").category("Atlas")
        with pytest.raises(InvalidInput) as told:
            Held(pool, anna).submit(Verdict.KNOWN, foreign)
        assert told.value.code == "no-such-category"

    def test_a_retired_category_is_refused(self, pool, anna):
        pool.queue(1)
        retired = pool.category("Mango", status=CategoryStatus.RETIRED)
        with pytest.raises(InvalidInput, match="Mango is retired"):
            Held(pool, anna).submit(Verdict.KNOWN, retired)

    @pytest.mark.parametrize("verdict", [Verdict.NOT_OF_INTEREST, Verdict.CANNOT_TELL, Verdict.BAD_IMAGE])
    def test_verdicts_without_a_category(self, pool, anna, verdict):
        pool.queue(1)
        held = Held(pool, anna)
        held.submit(verdict)
        assert held.label == (verdict, None)
        assert held.task.state is TaskState.DONE
        assert queued_updates(pool.session) == set()

    def test_an_answered_image_is_not_served_again(self, pool, anna, ben):
        pool.queue(1)
        Held(pool, anna).submit(Verdict.CANNOT_TELL)
        assert service.claim_next(pool.session, pool.project, ben, None)["task"] is None


class TestNewNames:
    def test_a_new_name_makes_a_category_that_is_learnt_at_once(self, pool, anna):
        pool.queue(1)
        held = Held(pool, anna)
        receipt = held.submit(Verdict.NEW, name="Oat milk")
        assert receipt.is_created
        assert (receipt.category.name, receipt.category.status) == ("Oat milk", CategoryStatus.PROPOSED)
        assert held.label == (Verdict.NEW, receipt.category.id)
        assert queued_updates(pool.session) == {receipt.category.id}

    def test_a_near_duplicate_is_asked_about_and_nothing_is_stored(self, pool, anna):
        pool.queue(1)
        pool.category("Pomegranate")
        held = Held(pool, anna)
        with pytest.raises(NameQuestion) as asked:
            held.submit(Verdict.NEW, name="Pomegranade")
        assert asked.value.details["verdict"] == "typo"
        assert asked.value.details["candidates"][0]["name"] == "Pomegranate"
        assert annotations(pool) == []
        assert held.task.state is TaskState.LEASED

    def test_who_has_seen_the_evidence_may_say_that_it_is_different(self, pool, anna):
        pool.queue(1)
        other = pool.category("Pomegranate")
        receipt = Held(pool, anna).submit(Verdict.NEW, name="Pomegranade", different_from=(other.id,))
        assert receipt.is_created
        assert receipt.category.name == "Pomegranade"

    def test_a_slip_is_remembered_if_asked(self, pool, anna):
        pool.queue(2)
        pomegranate = pool.category("Pomegranate")
        Held(pool, anna).submit(Verdict.KNOWN, pomegranate, remember_misspelling="Pomegranade")
        receipt = Held(pool, anna).submit(Verdict.NEW, name="pomegranade")
        assert (receipt.category, receipt.is_created) == (pomegranate, False)

    def test_a_name_in_use_is_that_category_and_counts_as_known(self, pool, anna):
        pool.queue(1)
        mango = pool.category("Mango")
        held = Held(pool, anna)
        receipt = held.submit(Verdict.NEW, name=" mango")
        assert (receipt.category, receipt.is_created) == (mango, False)
        assert held.label == (Verdict.KNOWN, mango.id)


class TestRepeat:
    """Act 1: a double click, or a retry after a cut line."""

    @pytest.mark.parametrize(
        "answer",
        [{"verdict": Verdict.CANNOT_TELL}, {"verdict": Verdict.NEW, "name": "Oat milk"}],
    )
    def test_the_same_answer_twice_is_one_annotation(self, pool, anna, answer):
        pool.queue(2)
        held = Held(pool, anna)
        first, second = held.submit(**answer), held.submit(**answer)
        assert (first.is_repeated, second.is_repeated) == (False, True)
        assert first.annotation_id == second.annotation_id
        assert first.category is second.category
        assert len(annotations(pool)) == 1

    def test_another_answer_under_the_same_hold_is_refused(self, pool, anna):
        pool.queue(1)
        mango, pear = pool.category("Mango"), pool.category("Pear")
        held = Held(pool, anna)
        held.submit(Verdict.KNOWN, mango)
        for verdict, category in ((Verdict.KNOWN, pear), (Verdict.CANNOT_TELL, None)):
            with pytest.raises(Conflict) as told:
                held.submit(verdict, category)
            assert told.value.code == "already-answered"
        assert held.label == (Verdict.KNOWN, mango.id)

    def test_a_token_of_another_image_is_no_repeat(self, pool, anna):
        pool.queue(2)
        first, second = Held(pool, anna), Held(pool, anna)
        first.submit(Verdict.CANNOT_TELL)
        second.token = first.token
        with pytest.raises(Conflict, match="a hold on another image") as told:
            second.submit(Verdict.CANNOT_TELL)
        assert told.value.code == "already-answered"
        assert second.task.state is TaskState.LEASED

    def test_a_retry_that_arrives_after_the_undo_does_not_label_again(self, pool, anna):
        pool.queue(1)
        held = Held(pool, anna)
        held.submit(Verdict.NEW, name="Oat milk")
        service.undo(pool.session, pool.project, anna, None)
        assert held.submit(Verdict.NEW, name="Oat milk").is_repeated
        assert held.label == (None, None)


class TestLate:
    """Act 2: a late answer is told, and its work kept."""

    def test_an_expired_hold_that_nobody_took_still_counts(self, pool, anna):
        pool.queue(1)
        held = Held(pool, anna)
        held.expire()
        assert not held.submit(Verdict.CANNOT_TELL).is_late
        assert held.label == (Verdict.CANNOT_TELL, None)

    def test_also_after_the_clock_has_freed_it(self, pool, anna):
        pool.queue(1)
        held = Held(pool, anna)
        held.expire()
        service.free_expired(pool.session)
        assert not held.submit(Verdict.CANNOT_TELL).is_late

    def test_a_hold_that_was_given_back_still_counts_until_somebody_takes_it(self, pool, anna, ben):
        pool.queue(1)
        held = Held(pool, anna)
        service.release(pool.session, pool.project, anna, held.id, held.token)
        assert not held.submit(Verdict.CANNOT_TELL).is_late

    def test_an_image_that_somebody_else_holds_keeps_the_answer_as_a_second_opinion(self, pool, anna, ben):
        pool.queue(1)
        mango = pool.category("Mango")
        late = Held(pool, anna)
        late.expire()
        holding = Held(pool, ben)
        assert late.submit(Verdict.KNOWN, mango).is_late
        assert late.label == (None, None)
        assert [(one.verdict, one.is_current) for one in annotations(pool)] == [(Verdict.KNOWN, False)]
        assert not holding.submit(Verdict.CANNOT_TELL).is_late
        assert holding.label == (Verdict.CANNOT_TELL, None)

    def test_an_image_that_somebody_else_has_answered_keeps_its_label(self, pool, anna, ben):
        pool.queue(1)
        late = Held(pool, anna)
        late.expire()
        Held(pool, ben).submit(Verdict.CANNOT_TELL)
        assert late.submit(Verdict.BAD_IMAGE).is_late
        assert late.label == (Verdict.CANNOT_TELL, None)

    def test_a_token_of_somebody_else_is_no_hold(self, pool, anna, ben):
        pool.queue(1)
        held = Held(pool, anna)
        receipt = service.submit(
            pool.session, pool.project, ben, held.id, held.token, Answer(Verdict.BAD_IMAGE)
        )
        assert receipt.is_late
        assert held.label == (None, None)

    def test_a_late_answer_sent_twice_is_kept_once(self, pool, anna, ben):
        pool.queue(1)
        late = Held(pool, anna)
        late.expire()
        Held(pool, ben)
        first, second = late.submit(Verdict.BAD_IMAGE), late.submit(Verdict.BAD_IMAGE)
        assert first.annotation_id == second.annotation_id
        assert second.is_late

    def test_a_late_answer_with_a_new_name_makes_no_category(self, pool, anna, ben):
        pool.queue(1)
        late = Held(pool, anna)
        late.expire()
        Held(pool, ben)
        receipt = late.submit(Verdict.NEW, name="Oat milk")
        assert (receipt.is_late, receipt.category) == (True, None)
        assert [(one.verdict, one.category_id) for one in annotations(pool)] == [(Verdict.NEW, None)]
        assert pool.session.scalar(select(func.count()).where(Category.project_id == pool.project.id)) == 0

    def test_a_late_answer_with_a_name_in_use_is_an_opinion_on_that_category(self, pool, anna, ben):
        pool.queue(1)
        mango = pool.category("Mango")
        late = Held(pool, anna)
        late.expire()
        Held(pool, ben)
        assert late.submit(Verdict.NEW, name="mango").category is mango
        assert [(one.verdict, one.category_id) for one in annotations(pool)] == [(Verdict.KNOWN, mango.id)]


class TestUndo:
    def test_it_takes_the_label_back_and_holds_the_image_again(self, pool, anna):
        pool.queue(2)
        mango = pool.category("Mango")
        held = Held(pool, anna)
        held.submit(Verdict.KNOWN, mango)
        pool.session.info.pop("jobs")
        answer = service.undo(pool.session, pool.project, anna, None)
        assert answer["undone"]["category_name"] == "Mango"
        assert answer["task"]["id"] == str(held.id)
        assert held.label == (None, None)
        assert held.task.state is TaskState.LEASED
        assert queued_updates(pool.session) == {mango.id}

    def test_the_journal_keeps_both(self, pool, anna):
        pool.queue(1)
        receipt = Held(pool, anna).submit(Verdict.CANNOT_TELL)
        service.undo(pool.session, pool.project, anna, None)
        said, withdrawn = annotations(pool)
        assert said.id == receipt.annotation_id
        assert (withdrawn.verdict, withdrawn.withdraws_id) == (None, said.id)

    def test_it_can_be_repeated_down_to_nothing(self, pool, anna):
        pool.queue(2)
        first, second = Held(pool, anna), Held(pool, anna)
        first.submit(Verdict.CANNOT_TELL)
        second.submit(Verdict.BAD_IMAGE)
        undone = [service.undo(pool.session, pool.project, anna, None)["task"]["id"] for _ in range(2)]
        assert undone == [str(second.id), str(first.id)]
        with pytest.raises(Conflict) as told:
            service.undo(pool.session, pool.project, anna, None)
        assert told.value.code == "nothing-to-undo"

    def test_the_change_after_an_undo_stands(self, pool, anna):
        """Act 1: the page is loaded again after a sent label was changed."""
        pool.queue(1)
        mango, pear = pool.category("Mango"), pool.category("Pear")
        tab = uuid4()
        Held(pool, anna, tab).submit(Verdict.KNOWN, mango)
        service.undo(pool.session, pool.project, anna, tab)
        again = Held(pool, anna, tab)
        again.submit(Verdict.KNOWN, pear)
        assert again.label == (Verdict.KNOWN, pear.id)
        assert queued_updates(pool.session) >= {mango.id, pear.id}

    def test_the_image_in_hand_goes_back_to_the_queue(self, pool, anna, ben):
        pool.queue(2)
        tab = uuid4()
        Held(pool, anna, tab).submit(Verdict.CANNOT_TELL)
        in_hand = Held(pool, anna, tab)
        service.undo(pool.session, pool.project, anna, tab)
        assert Held(pool, ben).id == in_hand.id

    def test_only_my_own_answers(self, pool, anna, ben):
        pool.queue(2)
        mine = Held(pool, anna)
        mine.submit(Verdict.CANNOT_TELL)
        Held(pool, ben).submit(Verdict.CANNOT_TELL)
        assert service.undo(pool.session, pool.project, anna, None)["task"]["id"] == str(mine.id)

    @pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER, Role.OWNER])
    def test_a_category_that_it_had_made_goes_with_it(self, pool, role):
        pool.queue(1)
        maker = pool.person(role).user
        made = Held(pool, maker).submit(Verdict.NEW, name="Oat milkk").category
        service.undo(pool.session, pool.project, maker, None)
        assert made.status is CategoryStatus.RETIRED
        task = pool.tasks()[0]
        receipt = service.submit(
            pool.session, pool.project, maker, task.id, task.lease_token, Answer(Verdict.NEW, name="Oat milk")
        )
        assert receipt.is_created

    def test_a_category_that_a_reviewer_has_confirmed_stays(self, pool, anna):
        pool.queue(1)
        made = Held(pool, anna).submit(Verdict.NEW, name="Oat milk").category
        categories.set_status(pool.session, pool.person(Role.REVIEWER).user, made, CategoryStatus.ACTIVE)
        service.undo(pool.session, pool.project, anna, None)
        assert made.status is CategoryStatus.ACTIVE

    def test_a_category_that_others_use_by_now_stays(self, pool, anna, ben):
        pool.queue(2)
        first, second = Held(pool, anna), Held(pool, ben)
        made = first.submit(Verdict.NEW, name="Oat milk").category
        second.submit(Verdict.KNOWN, made)
        service.undo(pool.session, pool.project, anna, None)
        assert made.status is CategoryStatus.PROPOSED

    def test_an_imported_label_comes_back(self, pool, anna):
        """Two sources disagreed, a person settled it and took that back."""
        hare, rabbit = pool.category("Hare"), pool.category("Rabbit")
        image = pool.image()
        pool.task(image)
        service.record_labels(
            pool.session,
            pool.project.id,
            [(image.id, hare.id), (image.id, rabbit.id)],
            anna.id,
            LabelSource.IMPORTED,
        )
        held = Held(pool, anna)
        held.submit(Verdict.KNOWN, hare)
        assert held.label == (Verdict.KNOWN, hare.id)
        service.undo(pool.session, pool.project, anna, None)
        assert held.label == (Verdict.CONFLICT, None)


class TestEndpoints:
    @pytest.fixture
    def world(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            pool.queue(4)
            pool.category("Mango")
            person = pool.person(Role.ANNOTATOR)
            other = pool.person(Role.ANNOTATOR)
        return f"/api/v1/projects/{pool.project.id}/queue", person.headers, other.headers

    def claim(self, client, url, headers):
        return client.post(f"{url}/claim", headers=headers).json()["task"]

    def submit(self, client, url, headers, task, **body):
        return client.post(
            f"{url}/{task['id']}/submit", json={"token": task["token"]} | body, headers=headers
        )

    def test_submit_with_the_next_image(self, client, world):
        url, headers, _ = world
        task = self.claim(client, url, headers)
        answer = self.submit(client, url, headers, task, verdict="NEW", name="Oat milk", claim_next=True)
        assert answer.status_code == 200
        out = SubmitOut.model_validate(answer.json())
        assert out.category.created
        assert out.next.task.id != UUID(task["id"])
        repeated = self.submit(client, url, headers, task, verdict="NEW", name="Oat milk")
        assert repeated.json() | {"repeated": True} == repeated.json()

    def test_a_name_that_needs_a_look_is_409_with_evidence(self, client, world):
        url, headers, _ = world
        task = self.claim(client, url, headers)
        answer = self.submit(client, url, headers, task, verdict="NEW", name="Manggo")
        assert answer.status_code == 409
        error = answer.json()["error"]
        assert error["code"] == "name-check"
        assert error["details"]["candidates"][0]["name"] == "Mango"

    def test_a_late_answer_is_409_and_kept(self, client, world, settings):
        url, headers, other = world
        task = self.claim(client, url, headers)
        with session_scope(settings.database_url) as session:
            session.execute(
                update(AnnotationTask)
                .where(AnnotationTask.project_id == UUID(url.split("/")[4]))
                .values(lease_expires_at=func.now() - timedelta(minutes=1))
            )
        while (taken := self.claim(client, url, other))["id"] != task["id"]:
            pass
        answer = self.submit(client, url, headers, task, verdict="CANNOT_TELL", claim_next=True)
        assert answer.status_code == 409
        error = answer.json()["error"]
        assert (error["code"], error["details"]["kept"]) == ("hold-lost", True)
        with session_scope(settings.database_url) as session:
            kept = session.get_one(Annotation, UUID(error["details"]["annotation_id"]))
        assert not kept.is_current
        assert self.submit(client, url, other, taken, verdict="CANNOT_TELL").status_code == 200

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({"verdict": "KNOWN"}, "KNOWN needs the category_id or the name"),
            ({"verdict": "NEW"}, "NEW needs the name"),
            ({"verdict": "CANNOT_TELL", "name": "Mango"}, "takes no category"),
            ({"verdict": "CONFLICT"}, "verdict"),
            ({"verdict": "NEW", "name": "  "}, "name is missing"),
        ],
    )
    def test_incomplete_answers_say_what_is_missing(self, client, world, body, says):
        url, headers, _ = world
        task = self.claim(client, url, headers)
        answer = self.submit(client, url, headers, task, **body)
        assert answer.status_code == 422
        assert says in answer.json()["error"]["message"]

    def test_undo(self, client, world):
        url, headers, _ = world
        nothing = client.post(f"{url}/undo", headers=headers)
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "nothing-to-undo")
        task = self.claim(client, url, headers)
        self.submit(client, url, headers, task, verdict="NEW", name="Oat milk")
        answer = UndoOut.model_validate(client.post(f"{url}/undo", headers=headers).json())
        assert answer.undone.category_name == "Oat milk"
        assert answer.task.id == UUID(task["id"])


class TestRecordLabels:
    def record(self, pool, pairs, user=None):
        return service.record_labels(
            pool.session,
            pool.project.id,
            [(image.id, category.id) for image, category in pairs],
            user and user.id,
            LabelSource.IMPORTED,
        )

    def test_images_get_their_labels(self, pool, anna):
        hare, image = pool.category("Hare"), pool.image()
        assert self.record(pool, [(image, hare)], anna) == set()
        assert (image.verdict, image.category_id) == (Verdict.KNOWN, hare.id)
        assert image.labelled_at is not None

    def test_the_same_label_twice_is_one_opinion(self, pool):
        hare, image = pool.category("Hare"), pool.image()
        self.record(pool, [(image, hare), (image, hare)])
        self.record(pool, [(image, hare)])
        assert len(annotations(pool)) == 1

    def test_the_same_picture_in_two_classes_is_a_conflict_with_both_opinions_kept(self, pool):
        hare, rabbit, image = pool.category("Hare"), pool.category("Rabbit"), pool.image()
        assert self.record(pool, [(image, hare), (image, rabbit)]) == {image.id}
        assert (image.verdict, image.category_id) == (Verdict.CONFLICT, None)
        assert {one.category_id for one in annotations(pool)} == {hare.id, rabbit.id}

    def test_also_when_they_come_one_after_the_other(self, pool):
        hare, rabbit, image = pool.category("Hare"), pool.category("Rabbit"), pool.image()
        assert self.record(pool, [(image, hare)]) == set()
        assert self.record(pool, [(image, rabbit)]) == {image.id}

    def test_an_import_does_not_overrule_a_person(self, pool, anna):
        pool.queue(1)
        hare, rabbit = pool.category("Hare"), pool.category("Rabbit")
        held = Held(pool, anna)
        held.submit(Verdict.KNOWN, hare)
        image = pool.session.get(Image, held.image_id)
        assert self.record(pool, [(image, rabbit)]) == {image.id}
        assert held.label == (Verdict.KNOWN, hare.id)

    def test_an_image_that_waited_in_the_queue_is_done(self, pool, anna):
        (task,) = pool.queue(1)
        self.record(pool, [(pool.session.get(Image, task.image_id), pool.category("Hare"))])
        assert service.claim_next(pool.session, pool.project, anna, None)["task"] is None

    def test_a_conflict_stays_in_the_queue_for_somebody_to_settle(self, pool, anna):
        (task,) = pool.queue(1)
        image = pool.session.get(Image, task.image_id)
        self.record(pool, [(image, pool.category("Hare")), (image, pool.category("Rabbit"))])
        assert Held(pool, anna).id == task.id

    def test_a_conflict_that_comes_later_is_asked_though_the_image_was_never_queued(self, pool, anna):
        image = pool.image()
        self.record(pool, [(image, pool.category("Hare"))])
        assert service.claim_next(pool.session, pool.project, anna, None)["task"] is None
        self.record(pool, [(image, pool.category("Rabbit"))])
        assert Held(pool, anna).image_id == image.id

    def test_a_conflict_that_comes_later_is_asked_again_though_the_image_was_done(self, pool, anna):
        (task,) = pool.queue(1)
        image = pool.session.get(Image, task.image_id)
        self.record(pool, [(image, pool.category("Hare"))])
        self.record(pool, [(image, pool.category("Rabbit"))])
        assert Held(pool, anna).id == task.id

    def test_memory_learns_of_images_that_have_a_place_in_the_space(self, pool):
        pool.activate_version()
        hare, rabbit = pool.category("Hare"), pool.category("Rabbit")
        self.record(pool, [(pool.image(at=(1, 0, 0)), hare), (pool.image(), rabbit)])
        assert queued_updates(pool.session) == {hare.id}

    def test_images_of_another_project_are_left_alone(self, pool, session):
        foreign = Pool(session, "Moths").image()
        assert self.record(pool, [(foreign, pool.category("Hare"))]) == set()
        assert foreign.verdict is None

    def test_two_imports_of_the_same_images_at_once(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            images = [pool.image() for _ in range(40)]
            hare = pool.category("Hare")
        errors = []

        def work(order):
            try:
                with session_scope(settings.database_url) as session:
                    service.record_labels(
                        session,
                        pool.project.id,
                        [(image.id, hare.id) for image in order],
                        None,
                        LabelSource.IMPORTED,
                    )
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(order,)) for order in (images, images[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with session_scope(settings.database_url) as session:
            count = session.scalar(select(func.count()).where(Annotation.project_id == pool.project.id))
            labelled = session.scalar(select(func.count()).where(Image.category_id == hare.id))
            categories = session.scalar(select(func.count()).where(Category.project_id == pool.project.id))
        assert (count, labelled, categories) == (40, 40, 1)

"""The line of model versions: one training at a time, one active version at any moment."""

import threading
from uuid import UUID, uuid4

import pytest
from pool import Pool
from sqlalchemy import select

from server.annotations import service as annotations
from server.annotations.service import Answer
from server.database import session_scope
from server.errors import Conflict, InvalidInput, NotFound
from server.jobs import RESCORE, TRAIN, UPDATE_MEMORY
from server.model_versions import service
from server.permissions import Role
from server.tables import (
    AuditEntry,
    CategoryStatus,
    Image,
    JobKind,
    JobState,
    ModelVersion,
    Project,
    SnapshotLabel,
    Verdict,
    VersionStatus,
)
from server.work import service as work


class Labelled(Pool):
    """A pool with labelled images."""

    def label(self, category, count=1):
        images = [self.image() for _ in range(count)]
        for image in images:
            image.verdict, image.category_id = Verdict.KNOWN, category.id
        self.session.flush()
        return images

    def train(self):
        """A version whose training has ended, as the worker leaves it."""
        version, job = service.request_training(self.session, self.project, None)
        service.mark_training(self.session, version.id)
        service.mark_trained(self.session, version.id, metrics={"known": 0.9}, runtime_key="cpu", seed=0)
        work.finish(self.session, job)
        return version

    def sent(self):
        """Jobs that leave after the commit."""
        return set(self.session.info.get("jobs", {}))


@pytest.fixture
def pool(session):
    pool = Labelled(session)
    pool.hare, pool.rabbit = pool.category("Hare"), pool.category("Rabbit")
    pool.label(pool.hare, 2)
    pool.label(pool.rabbit)
    return pool


@pytest.fixture
def owner(pool):
    return pool.person(Role.OWNER).user


class TestRequest:
    def test_it_freezes_the_labels_and_sends_the_worker(self, pool, owner):
        version, job = service.request_training(pool.session, pool.project, owner.id)
        assert (version.number, version.status) == (1, VersionStatus.QUEUED)
        assert (version.trained_images, version.trained_categories) == (3, 2)
        assert (job.kind, job.target_id, job.state) == (JobKind.TRAIN, version.id, JobState.QUEUED)
        assert (TRAIN, (str(version.id),)) in pool.sent()
        pool.label(pool.hare)
        snapshot = pool.session.scalars(
            select(SnapshotLabel.category_id).where(SnapshotLabel.model_version_id == version.id)
        ).all()
        assert sorted(snapshot) == sorted([pool.hare.id, pool.hare.id, pool.rabbit.id])

    def test_without_any_new_label_there_is_no_run(self, pool):
        """Act 5."""
        version = pool.train()
        with pytest.raises(Conflict) as told:
            service.request_training(pool.session, pool.project, None)
        assert told.value.code == "nothing-new"
        assert f"v{version.number} was trained on 3 images" in told.value.message
        assert len(service.list_versions(pool.session, pool.project.id)) == 1

    def test_a_changed_label_is_something_new(self, pool):
        pool.train()
        image = pool.session.scalars(select(Image).where(Image.category_id == pool.rabbit.id)).one()
        image.category_id = pool.hare.id
        pool.label(pool.rabbit)
        version, _ = service.request_training(pool.session, pool.project, None)
        assert version.number == 2

    def test_a_label_that_was_taken_back_is_something_new(self, pool):
        extra, *_ = pool.label(pool.hare)
        pool.train()
        extra.verdict = extra.category_id = None
        version, _ = service.request_training(pool.session, pool.project, None)
        assert version.trained_images == 3

    def test_a_failed_training_may_be_tried_again(self, pool):
        version, _ = service.request_training(pool.session, pool.project, None)
        service.fail(pool.session, version.id, "The disk is full.")
        again, _ = service.request_training(pool.session, pool.project, None)
        assert again.number == 2

    def test_one_at_a_time(self, pool):
        first, _ = service.request_training(pool.session, pool.project, None)
        with pytest.raises(Conflict) as told:
            service.request_training(pool.session, pool.project, None)
        assert told.value.code == "training-already"
        assert told.value.details["version_id"] == str(first.id)

    def test_four_people_who_ask_at_once_start_one(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Labelled(session)
            pool.label(pool.category("Hare"))
            pool.label(pool.category("Rabbit"))
        outcomes = []

        def ask():
            try:
                with session_scope(settings.database_url) as session:
                    service.request_training(session, session.get_one(Project, pool.project.id), None)
                outcomes.append("started")
            except Conflict as told:
                outcomes.append(told.code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["started", *["training-already"] * 3]

    def test_without_labels_it_says_what_is_missing(self, session):
        with pytest.raises(InvalidInput, match="at least 2; none has any yet") as told:
            service.request_training(session, Pool(session).project, None)
        assert told.value.code == "too-few-categories"

    def test_one_category_has_nothing_to_be_told_from(self, session):
        pool = Labelled(session)
        pool.label(pool.category("Hare"), 5)
        with pytest.raises(InvalidInput, match="only one has any: Hare"):
            service.request_training(session, pool.project, None)

    def test_retired_categories_do_not_count(self, session):
        pool = Labelled(session)
        pool.label(pool.category("Hare"))
        pool.label(pool.category("Gone", status=CategoryStatus.RETIRED))
        with pytest.raises(InvalidInput):
            service.request_training(session, pool.project, None)


class TestTraining:
    def test_from_queue_to_candidate(self, pool):
        version, _ = service.request_training(pool.session, pool.project, None)
        assert service.mark_training(pool.session, version.id).status is VersionStatus.TRAINING
        trained = service.mark_trained(
            pool.session, version.id, metrics={"known": 0.87}, runtime_key="cpu", seed=7
        )
        assert (trained.status, trained.seed, trained.metrics) == (
            VersionStatus.CANDIDATE,
            7,
            {"known": 0.87},
        )

    def test_a_lost_worker_may_start_it_again(self, pool):
        version, _ = service.request_training(pool.session, pool.project, None)
        service.mark_training(pool.session, version.id)
        assert service.mark_training(pool.session, version.id) is not None

    def test_a_cancelled_training_ends_with_its_job(self, pool, owner):
        version, job = service.request_training(pool.session, pool.project, None)
        service.cancel(pool.session, version, owner.id)
        assert (version.status, job.state) == (VersionStatus.CANCELLED, JobState.CANCELLED)
        assert service.mark_training(pool.session, version.id) is None
        assert service.mark_trained(pool.session, version.id, metrics={}, runtime_key="", seed=0) is None

    def test_there_is_nothing_to_cancel_once_it_is_trained(self, pool, owner):
        with pytest.raises(Conflict) as told:
            service.cancel(pool.session, pool.train(), owner.id)
        assert told.value.code == "not-running"

    def test_a_failure_keeps_its_reason(self, pool):
        version, job = service.request_training(pool.session, pool.project, None)
        service.fail(pool.session, version.id, "The disk is full.")
        assert (version.status, version.error) == (VersionStatus.FAILED, "The disk is full.")
        assert (job.state, job.error) == (JobState.FAILED, "The disk is full.")


class TestActivate:
    def test_the_former_version_retires_in_the_same_step(self, pool, owner):
        former = pool.activate_version()
        former.number = 100
        version = service.activate(pool.session, pool.train(), owner.id)
        assert (version.status, former.status) == (VersionStatus.ACTIVE, VersionStatus.RETIRED)
        assert pool.project.active_version_id == version.id
        assert service.find_active(pool.session, pool.project.id) is version
        assert (RESCORE, (str(pool.project.id),)) in pool.sent()

    def test_rolling_back_is_the_same_call(self, pool, owner):
        first = service.activate(pool.session, pool.train(), owner.id)
        pool.label(pool.hare)
        second = service.activate(pool.session, pool.train(), owner.id)
        service.activate(pool.session, first, owner.id)
        assert (first.status, second.status) == (VersionStatus.ACTIVE, VersionStatus.RETIRED)
        acts = pool.session.scalars(
            select(AuditEntry.details["former"])
            .where(AuditEntry.action == "version.activated", AuditEntry.project_id == pool.project.id)
            .order_by(AuditEntry.created_at)
        ).all()
        assert acts == [None, 1, 2]

    def test_activating_the_active_one_changes_nothing(self, pool, owner):
        version = service.activate(pool.session, pool.train(), owner.id)
        at = version.activated_at
        pool.session.info.pop("jobs")
        assert service.activate(pool.session, version, owner.id).activated_at == at
        assert pool.sent() == set()

    @pytest.mark.parametrize("end", ["queued", "failed", "cancelled"])
    def test_what_was_never_trained_cannot_answer(self, pool, owner, end):
        version, _ = service.request_training(pool.session, pool.project, None)
        if end == "failed":
            service.fail(pool.session, version.id, "The disk is full.")
        elif end == "cancelled":
            service.cancel(pool.session, version, owner.id)
        with pytest.raises(Conflict) as told:
            service.activate(pool.session, version, owner.id)
        assert told.value.code == "not-trained"

    def test_labels_since_its_training_are_taken_into_its_memory(self, pool, owner):
        version = pool.train()
        pool.queue(1)
        task = annotations.claim_next(pool.session, pool.project, owner, None)["task"]
        receipt = annotations.submit(
            pool.session, pool.project, owner, UUID(task["id"]), UUID(task["token"]),
            Answer(Verdict.NEW, name="Otter"),
        )  # fmt: skip
        pool.session.info.pop("jobs")
        service.activate(pool.session, version, owner.id)
        updated = {args[1] for name, args in pool.sent() if name == UPDATE_MEMORY}
        assert str(receipt.category.id) in updated

    def test_at_once_by_two_people_leaves_one_active(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Labelled(session)
            hare, rabbit = pool.category("Hare"), pool.category("Rabbit")
            pool.label(hare), pool.label(rabbit)
            first = pool.train()
            pool.label(hare)
            second = pool.train()

        def choose(version):
            with session_scope(settings.database_url) as session:
                service.activate(session, session.get_one(ModelVersion, version.id), None)

        threads = [threading.Thread(target=choose, args=(version,)) for version in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with session_scope(settings.database_url) as session:
            statuses = session.scalars(
                select(ModelVersion.status).where(ModelVersion.project_id == pool.project.id)
            ).all()
            active = service.find_active(session, pool.project.id)
            assert session.get_one(Project, pool.project.id).active_version_id == active.id
        assert sorted(statuses) == [VersionStatus.ACTIVE, VersionStatus.RETIRED]


class TestUntrained:
    """Act 6: a project without classes is scored all the same."""

    def test_it_is_made_once(self, session):
        pool = Pool(session)
        version, is_made = service.ensure_untrained(session, pool.project.id, "cpu")
        assert is_made
        assert (version.number, version.status, version.trained_at) == (1, VersionStatus.ACTIVE, None)
        assert pool.project.active_version_id == version.id
        assert service.ensure_untrained(session, pool.project.id, "cpu") == (version, False)

    def test_two_workers_make_one(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
        made = []

        def ensure():
            with session_scope(settings.database_url) as session:
                made.append(service.ensure_untrained(session, pool.project.id, "cpu")[1])

        threads = [threading.Thread(target=ensure) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == [False, False, False, True]


class TestEndpoints:
    @pytest.fixture
    def world(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Labelled(session)
            pool.label(pool.category("Hare"))
            pool.label(pool.category("Rabbit"))
            headers = pool.person(Role.OWNER).headers
        return f"/api/v1/projects/{pool.project.id}/versions", headers, pool

    def test_train_look_and_cancel(self, client, world):
        url, headers, _ = world
        answer = client.post(url, headers=headers)
        assert answer.status_code == 202
        version, job = answer.json()["version"], answer.json()["job"]
        assert (version["status"], job["kind"], job["target_id"]) == ("QUEUED", "TRAIN", version["id"])
        again = client.post(url, headers=headers)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "training-already")
        assert client.get(url, headers=headers).json() == [version]
        cancelled = client.post(f"{url}/{version['id']}/cancel", headers=headers)
        assert cancelled.json()["status"] == "CANCELLED"

    def test_activate(self, client, world, settings):
        url, headers, pool = world
        with session_scope(settings.database_url) as session:
            pool.session = session
            pool.project = session.get_one(Project, pool.project.id)
            version = pool.train()
        answer = client.post(f"{url}/{version.id}/activate", headers=headers)
        assert answer.json()["status"] == "ACTIVE"
        nothing_new = client.post(url, headers=headers)
        assert (nothing_new.status_code, nothing_new.json()["error"]["code"]) == (409, "nothing-new")

    def test_a_version_of_another_project_is_not_found(self, client, world, settings):
        url, headers, _ = world
        with session_scope(settings.database_url) as session:
            foreign = Pool(session, "Moths").activate_version()
        for method, path in (("GET", ""), ("POST", "/activate"), ("POST", "/cancel")):
            assert client.request(method, f"{url}/{foreign.id}{path}", headers=headers).status_code == 404

    def test_get_of_nothing(self, session):
        with pytest.raises(NotFound):
            service.get_version(session, Pool(session).project.id, uuid4())

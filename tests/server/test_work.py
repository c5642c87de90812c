"""Job rows: one unfinished job per kind and target, counted attempts, nothing lost at the end."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from pool import Pool
from sqlalchemy import func, select

from server.database import session_scope
from server.permissions import Role
from server.tables import Job, JobKind, JobState, Project
from server.tables.base import utc_now
from server.work import service as work


@pytest.fixture
def project_id(session):
    project = Project(name="Moths")
    session.add(project)
    session.flush()
    return project.id


@pytest.fixture
def job(session, project_id):
    return work.request_job(session, JobKind.SCORE, project_id, uuid4())


class TestRequestJob:
    def test_asking_twice_is_asking_once(self, session, project_id):
        batch_id = uuid4()
        first = work.request_job(session, JobKind.SCORE, project_id, batch_id)
        assert work.request_job(session, JobKind.SCORE, project_id, batch_id).id == first.id
        assert first.state is JobState.QUEUED

    def test_another_kind_or_target_is_another_job(self, session, project_id, job):
        assert work.request_job(session, JobKind.INGEST, project_id, job.target_id).id != job.id
        assert work.request_job(session, JobKind.SCORE, project_id, uuid4()).id != job.id

    def test_after_the_end_a_new_job_is_made(self, session, project_id, job):
        work.finish(session, job)
        assert work.request_job(session, JobKind.SCORE, project_id, job.target_id).id != job.id

    def test_eight_requests_at_once_make_one_job(self, settings):
        with session_scope(settings.database_url) as session:
            project = Project(name="Moths")
            session.add(project)
        batch_id, found = uuid4(), []

        def ask():
            with session_scope(settings.database_url) as session:
                found.append(work.request_job(session, JobKind.SCORE, project.id, batch_id).id)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1
        with session_scope(settings.database_url) as session:
            assert session.scalar(select(func.count()).where(Job.target_id == batch_id)) == 1

    def test_a_job_that_is_about_to_finish_waits_for_new_work(self, settings):
        with session_scope(settings.database_url) as session:
            project = Project(name="Moths")
            session.add(project)
        batch_id, order = uuid4(), []
        with session_scope(settings.database_url) as adding:
            job = work.request_job(adding, JobKind.SCORE, project.id, batch_id)

        def finish():
            with session_scope(settings.database_url) as session:
                held = work.hold(session, job.id)
                order.append("held")
                work.finish(session, held)

        with session_scope(settings.database_url) as adding:
            work.request_job(adding, JobKind.SCORE, project.id, batch_id)
            worker = threading.Thread(target=finish)
            worker.start()
            worker.join(timeout=0.2)
            order.append("added")
        worker.join()
        assert order == ["added", "held"]


class TestLife:
    def test_start_marks_it_running(self, session, job):
        started = work.start(session, job.kind, job.target_id)
        assert started.state is JobState.RUNNING
        assert started.attempts == 1
        assert started.started_at is not None

    def test_start_of_a_finished_job_says_that_nothing_is_to_be_done(self, session, job):
        work.finish(session, job)
        assert work.start(session, job.kind, job.target_id) is None

    def test_a_job_that_kills_its_worker_five_times_fails_with_a_reason(self, session, job):
        for _ in range(work.MAX_ATTEMPTS):
            assert work.start(session, job.kind, job.target_id)
        assert work.start(session, job.kind, job.target_id) is None
        assert job.state is JobState.FAILED
        assert "5 times" in job.error

    def test_progress_forgives_earlier_attempts(self, session, job):
        for done in range(1, 12):
            assert work.start(session, job.kind, job.target_id)
            assert work.heartbeat(session, job.id, done=done, total=20)
        assert (job.done, job.total, job.attempts) == (11, 20, 0)

    def test_work_that_finishes_nothing_yet_forgives_them_too(self, session, job):
        for _ in range(2 * work.MAX_ATTEMPTS):
            assert work.start(session, job.kind, job.target_id)
            assert work.heartbeat(session, job.id, done=0, has_progressed=True)
        assert (job.done, job.attempts) == (0, 0)

    def test_a_sign_of_life_without_progress_forgives_nothing(self, session, job):
        work.start(session, job.kind, job.target_id)
        work.heartbeat(session, job.id)
        assert job.attempts == 1

    def test_a_cancelled_job_is_told_at_its_next_heartbeat(self, session, job):
        work.start(session, job.kind, job.target_id)
        work.cancel(session, job)
        assert not work.heartbeat(session, job.id, done=3)
        assert work.hold(session, job.id) is None
        assert job.state is JobState.CANCELLED

    def test_a_finished_job_shows_all_as_done(self, session, job):
        work.start(session, job.kind, job.target_id)
        work.heartbeat(session, job.id, done=3, total=20)
        work.finish(session, work.hold(session, job.id))
        assert (job.state, job.done, job.total) == (JobState.DONE, 20, 20)
        assert job.finished_at is not None


class TestStale:
    def test_a_silent_job_is_found_once(self, session, job):
        later = utc_now() + timedelta(seconds=31)
        assert job in work.list_stale(session, later)
        assert job not in work.list_stale(session, later)

    def test_a_living_or_finished_job_is_not(self, session, project_id, job):
        finished = work.request_job(session, JobKind.SCORE, project_id, uuid4())
        work.finish(session, finished)
        work.start(session, job.kind, job.target_id)
        stale = work.list_stale(session, utc_now() + timedelta(seconds=29))
        assert finished not in stale
        assert job not in stale


class TestListJobs:
    def test_newest_first_and_only_of_the_project(self, session, project_id, job):
        other = Project(name="Beetles")
        session.add(other)
        session.flush()
        work.request_job(session, JobKind.SCORE, other.id, uuid4())
        newer = work.request_job(session, JobKind.INGEST, project_id, uuid4())
        assert work.list_jobs(session, project_id) == [newer, job]

    def test_unfinished_only(self, session, project_id, job):
        work.finish(session, job)
        newer = work.request_job(session, JobKind.INGEST, project_id, uuid4())
        assert work.list_jobs(session, project_id, unfinished_only=True) == [newer]


class TestEndpoint:
    def test_running_work_is_shown_with_its_progress(self, client, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            headers = pool.person(Role.VIEWER).headers
            done = work.request_job(session, JobKind.SCORE, pool.project.id, uuid4())
            work.finish(session, done)
            running = work.request_job(session, JobKind.SCORE, pool.project.id, uuid4())
            work.start(session, running.kind, running.target_id)
            work.heartbeat(session, running.id, done=3, total=20)
        url = f"/api/v1/projects/{pool.project.id}/jobs"
        (shown,) = client.get(url, params={"state": "unfinished"}, headers=headers).json()
        assert (shown["id"], shown["state"]) == (str(running.id), "RUNNING")
        assert (shown["done"], shown["total"]) == (3, 20)
        assert len(client.get(url, headers=headers).json()) == 2

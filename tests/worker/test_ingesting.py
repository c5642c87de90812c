"""Unpacking by the worker: killed, doubled, called off or harmed, it loses and doubles nothing."""

import io
import subprocess
import sys
import threading
import time
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select
from uploading import Uploader, pack

from server.batches.spool import Spool
from server.database import session_scope
from server.tables import BatchItem, Job, JobKind, JobState
from server.tables import Image as ImageRow
from server.work import service as work
from worker.ingesting import ingest_batch


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def uploader(client, settings):
    return Uploader.in_new_project(client, settings)


def send(uploader, members, name="x.zip", batch=None) -> UUID:
    """Send an archive and leave it in the spool."""
    path = "/batches" if batch is None else f"/batches/{batch}/files"
    answer = uploader.post(path, {name: pack(members)})
    assert answer.status_code in (200, 201)
    return UUID(answer.json()["id"])


def state(settings, batch_id):
    """The latest ingest job, and the numbers of lines and of images."""
    with session_scope(settings.database_url) as session:
        job = session.scalars(
            select(Job)
            .where(Job.target_id == batch_id, Job.kind == JobKind.INGEST)
            .order_by(Job.created_at.desc())
        ).first()
        lines = session.scalar(select(func.count()).where(BatchItem.batch_id == batch_id))
        images = session.scalar(select(func.count()).where(ImageRow.batch_id == batch_id))
        return job, lines, images


def test_all_is_recorded_and_the_archive_is_gone(uploader, settings):
    batch_id = send(uploader, {f"{number}.jpg": picture(number) for number in range(70)})
    ingest_batch(settings, batch_id)
    job, lines, images = state(settings, batch_id)
    assert (job.state, job.done, job.total) == (JobState.DONE, 70, 70)
    assert (lines, images) == (70, 70)
    assert Spool(settings.home).waiting(batch_id) == []
    assert uploader.unfinished(JobKind.SCORE, str(batch_id))


def test_a_run_gives_way_and_the_next_goes_on(uploader, settings):
    batch_id = send(uploader, {f"{number}.jpg": picture(number) for number in range(150)})
    done = []
    for _ in range(3):
        ingest_batch(settings, batch_id, run_seconds=0)
        done.append(state(settings, batch_id)[0].done)
    assert done == [64, 128, 150]
    job, lines, images = state(settings, batch_id)
    assert (job.state, lines, images) == (JobState.DONE, 150, 150)


def test_a_position_lost_by_a_crash_doubles_nothing(uploader, settings):
    members = {f"{number}.jpg": picture(number) for number in range(70)} | {
        "bad.jpg": b"text",
        "copy.jpg": picture(0),
    }
    batch_id = send(uploader, members)
    ingest_batch(settings, batch_id, run_seconds=0)
    (path,) = Spool(settings.home).waiting(batch_id)
    path.with_suffix(".position").unlink()
    ingest_batch(settings, batch_id)
    _, lines, images = state(settings, batch_id)
    assert (lines, images) == (72, 70)


def test_a_killed_worker_loses_and_doubles_nothing(uploader, settings):
    batch_id = send(uploader, {f"{number}.jpg": picture(number) for number in range(200)})
    code = (
        "import sys, uuid; from server.settings import get_settings;"
        "from worker.ingesting import ingest_batch;"
        "ingest_batch(get_settings(), uuid.UUID(sys.argv[1]), 600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(batch_id)])
    deadline = time.monotonic() + 60
    while state(settings, batch_id)[1] < 64:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    job, lines, _ = state(settings, batch_id)
    assert job.state is JobState.RUNNING
    assert lines < 200
    until_free(settings, batch_id)
    job, lines, images = state(settings, batch_id)
    assert (job.state, lines, images) == (JobState.DONE, 200, 200)


def until_free(settings, batch_id):
    """Go on as soon as PostgreSQL has seen that the killed worker is gone."""
    deadline = time.monotonic() + 30
    while state(settings, batch_id)[0].state is JobState.RUNNING:
        assert time.monotonic() < deadline
        ingest_batch(settings, batch_id, run_seconds=600)


def test_two_workers_at_once_share_no_work(uploader, settings):
    batch_id = send(uploader, {f"{number}.jpg": picture(number) for number in range(100)})
    threads = [threading.Thread(target=ingest_batch, args=(settings, batch_id, 600)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job, lines, images = state(settings, batch_id)
    assert (job.state, job.done, lines, images) == (JobState.DONE, 100, 100, 100)


def test_archives_are_taken_in_the_order_in_which_they_came(uploader, settings):
    batch_id = send(uploader, {"a.jpg": picture(1)})
    send(uploader, {"b.jpg": picture(1), "c.jpg": picture(2)}, "y.zip", batch_id)
    ingest_batch(settings, batch_id)
    report = uploader.get(f"/batches/{batch_id}/items")["items"]
    assert [(line["name"], line["outcome"]) for line in report] == [
        ("a.jpg", "STORED"),
        ("b.jpg", "DUPLICATE"),
        ("c.jpg", "STORED"),
    ]
    job, _, _ = state(settings, batch_id)
    assert (job.done, job.total) == (3, 3)


def test_a_job_that_was_called_off_stops_and_keeps_what_it_has(uploader, settings):
    batch_id = send(uploader, {f"{number}.jpg": picture(number) for number in range(150)})
    ingest_batch(settings, batch_id, run_seconds=0)
    with session_scope(settings.database_url) as session:
        work.cancel(session, work.find_unfinished(session, JobKind.INGEST, batch_id))
    ingest_batch(settings, batch_id)
    job, lines, _ = state(settings, batch_id)
    assert (job.state, lines) == (JobState.CANCELLED, 64)


def test_an_archive_that_was_harmed_in_the_spool_is_reported_and_the_others_are_taken(uploader, settings):
    batch_id = send(uploader, {"a.jpg": picture(1)})
    send(uploader, {"b.jpg": picture(2)}, "y.zip", batch_id)
    first, _ = Spool(settings.home).waiting(batch_id)
    first.write_bytes(first.read_bytes()[:100])
    ingest_batch(settings, batch_id)
    report = {line["name"]: line for line in uploader.get(f"/batches/{batch_id}/items")["items"]}
    assert report.pop("b.jpg")["outcome"] == "STORED"
    (harmed,) = report.values()
    assert harmed["code"] == "not-a-zip"
    assert state(settings, batch_id)[0].state is JobState.DONE


def test_a_batch_without_an_archive_is_nothing_to_do(uploader, settings):
    batch = uploader.upload({"a.jpg": picture(1)})
    ingest_batch(settings, UUID(batch["id"]))
    assert state(settings, UUID(batch["id"]))[0] is None

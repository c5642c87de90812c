"""Work for a batch is called off and taken up again by people."""

import io

import pytest
from PIL import Image
from uploading import Uploader, pack

from server.batches import service
from server.database import session_scope
from server.model_versions import service as versions
from server.tables import Batch, JobKind, Project
from server.work import service as work


def picture(shade: int) -> bytes:
    """A small picture of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (16, 16), shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def uploader(client, settings):
    return Uploader.in_new_project(client, settings)


@pytest.fixture
def batch(uploader):
    """A batch whose picture waits for scores and whose archive waits to be unpacked."""
    files = {"a.png": picture(1), "x.zip": pack({"b.png": picture(2)})}
    return f"/batches/{uploader.post('/batches', files).json()['id']}"


def states(uploader, batch):
    return {job["kind"]: job["state"] for job in uploader.get(batch)["jobs"]}


class TestCancel:
    def test_calls_off_unpacking_and_scoring(self, uploader, batch):
        assert states(uploader, batch) == {"INGEST": "QUEUED", "SCORE": "QUEUED"}
        assert uploader.post(f"{batch}/cancel", {}).status_code == 200
        assert states(uploader, batch) == {}

    def test_keeps_what_is_recorded(self, uploader, batch):
        uploader.post(f"{batch}/cancel", {})
        assert uploader.get(batch)["counts"]["stored"] == 1

    def test_of_nothing_changes_nothing(self, uploader, batch):
        for _ in range(2):
            assert uploader.post(f"{batch}/cancel", {}).status_code == 200


class TestResume:
    def test_takes_up_all_that_was_called_off(self, uploader, batch):
        uploader.post(f"{batch}/cancel", {})
        assert uploader.post(f"{batch}/resume", {}).status_code == 200
        assert states(uploader, batch) == {"INGEST": "QUEUED", "SCORE": "QUEUED"}

    def test_takes_up_what_has_failed(self, uploader, batch, settings):
        batch_id = uploader.get(batch)["id"]
        with session_scope(settings.database_url) as session:
            work.fail(session, work.find_unfinished(session, JobKind.INGEST, batch_id), "The disk is full.")
        assert states(uploader, batch)["INGEST"] == "FAILED"
        uploader.post(f"{batch}/resume", {})
        assert states(uploader, batch) == {"INGEST": "QUEUED", "SCORE": "QUEUED"}

    def test_of_what_goes_on_anyhow_doubles_nothing(self, uploader, batch):
        before = [job["id"] for job in uploader.get(batch)["jobs"]]
        uploader.post(f"{batch}/resume", {})
        assert [job["id"] for job in uploader.get(batch)["jobs"]] == before


class TestWorkLeft:
    def has_work_left(self, uploader, batch):
        with session_scope(uploader.settings.database_url) as session:
            project = session.get_one(Project, uploader.project_id)
            row = session.get_one(Batch, batch.removeprefix("/batches/"))
            return service.has_work_left(session, uploader.settings, project, row)

    def test_is_an_archive_that_waits(self, uploader, batch):
        assert self.has_work_left(uploader, batch)

    def test_is_an_image_without_scores_where_there_could_be_some(self, uploader):
        uploaded = uploader.upload({"a.png": picture(1)})
        batch = f"/batches/{uploaded['id']}"
        assert not self.has_work_left(uploader, batch)
        with session_scope(uploader.settings.database_url) as session:
            versions.ensure_untrained(session, uploader.project_id, "cpu")
        assert self.has_work_left(uploader, batch)

"""Upload over HTTP: who may, what is kept, what is said, and what happens when it is sent again."""

import hashlib
import io
import resource
import threading
import unicodedata
from uuid import UUID, uuid4

import asgi
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event, func, select
from uploading import Uploader, pack

from server.batches import endpoints, service
from server.batches.intake import Stored
from server.batches.recording import record
from server.cli import allow_open_files
from server.database import engine_for, session_scope
from server.permissions import Role
from server.settings import MIB
from server.storage import ImageStore
from server.tables import (
    Annotation,
    Batch,
    BatchKind,
    BatchStatus,
    Category,
    JobKind,
    ModelVersion,
    Prediction,
    Project,
    VersionStatus,
)
from server.tables import Image as ImageRow
from server.work import service as work


def picture(number: int, size=(24, 16), kind="PNG", **options) -> bytes:
    """A picture of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (*reversed(size), 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def uploader(client, settings):
    return Uploader.in_new_project(client, settings)


@pytest.fixture
def count_rows(settings, uploader):
    def count(table) -> int:
        with session_scope(settings.database_url) as session:
            return session.scalars(
                select(func.count()).select_from(table).where(table.project_id == uploader.project_id)
            ).one()

    return count


class TestWhoMay:
    def test_anonymous(self, uploader):
        uploader.headers = {}
        assert uploader.post("/batches", {"a.png": picture(1)}).status_code == 401
        assert uploader.response("/batches").status_code == 401

    @pytest.mark.parametrize("role", [None, Role.VIEWER, Role.ANNOTATOR])
    def test_others_may_not_upload(self, uploader, count_rows, role):
        answer = uploader.as_member(role).post("/batches", {"a.png": picture(1)})
        assert answer.status_code == (404 if role is None else 403)
        assert count_rows(ImageRow) == 0

    def test_an_uploader_may_upload_but_not_import_labels(self, uploader):
        member = uploader.as_member(Role.UPLOADER)
        assert member.post("/batches", {"a.png": picture(1)}).status_code == 201
        answer = member.post("/batches", {"x/a.png": picture(2)}, kind="labelled")
        assert answer.status_code == 403
        assert "owner" in answer.json()["error"]["message"]

    def test_a_batch_and_an_image_of_another_project_are_not_found(self, uploader, client, settings):
        batch = uploader.upload({"a.png": picture(1)})
        image_id = batch["items"][0]["image_id"]
        other = Uploader.in_new_project(client, settings)
        for path in (
            f"/batches/{batch['id']}",
            f"/batches/{batch['id']}/items",
            f"/batches/{batch['id']}/results",
            f"/images/{image_id}",
            f"/images/{image_id}/thumb",
            f"/images/{image_id}/display",
        ):
            assert uploader.response(path).status_code == 200
            assert other.response(path).status_code == 404
            assert uploader.as_member(None).response(path).status_code == 404
        answer = other.post(f"/batches/{batch['id']}/files", {"b.png": picture(2)})
        assert answer.status_code == 404


class TestRequests:
    def test_json_makes_an_empty_batch(self, uploader):
        answer = uploader.client.post(
            f"{uploader.url}/batches", json={"name": "Store 22", "kind": "labelled"}, headers=uploader.headers
        )
        assert answer.status_code == 201
        batch = answer.json()
        assert (batch["name"], batch["kind"], batch["items"]) == ("Store 22", "LABELLED", [])

    def test_a_slow_body_holds_no_connection_of_the_database(self, app, settings, uploader):
        pool = engine_for(settings.database_url).pool
        held = []
        parts = [
            {"type": "http.request", "body": b'{"name": "Sto', "more_body": True},
            {"type": "http.request", "body": b're 22"}', "more_body": False},
        ]
        statuses = []

        async def receive():
            held.append(pool.checkedout())
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        headers = {**uploader.headers, "content-type": "application/json"}
        path = f"{uploader.url}/batches"
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        asgi.call(app, scope, receive, send)
        assert statuses == [201]
        assert held[:2] == [0, 0]

    def test_a_batch_without_a_name_is_called_after_the_moment(self, uploader):
        assert uploader.upload({"a.png": picture(1)})["name"].startswith("Upload of ")

    @pytest.mark.parametrize("kind", ["nonsense", ""])
    def test_a_kind_that_does_not_exist_is_named(self, uploader, kind):
        answer = uploader.post("/batches", {"a.png": picture(1)}, kind=kind)
        assert answer.status_code == 422
        assert "kind" in answer.json()["error"]["message"]

    def test_no_file(self, uploader, count_rows):
        answer = uploader.client.post(
            f"{uploader.url}/batches", files={"name": (None, "x")}, headers=uploader.headers
        )
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "no-files"
        assert count_rows(Batch) == 0

    @pytest.mark.parametrize(
        ("disposition", "code"),
        [
            ('form-data; name="files"', "no-file-name"),
            ('form-data; name="files"; filename=""', "no-file-name"),
            ('form-data; name="upload"; filename="a.png"', "bad-part-name"),
        ],
    )
    def test_a_part_without_its_names_is_refused_with_how_to_mend_it(self, uploader, disposition, code):
        body = (
            b"--b\r\nContent-Disposition: "
            + disposition.encode()
            + b"\r\n\r\n"
            + picture(1)
            + b"\r\n--b--\r\n"
        )
        answer = uploader.client.post(
            f"{uploader.url}/batches",
            content=body,
            headers={**uploader.headers, "Content-Type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == code
        assert "name" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("multipart/form-data", b"x"),
            ("multipart/form-data; boundary=b", b"--c\r\n"),
            ("application/json", b"{"),
            ("application/json", b"[]"),
            ("image/png", b"x"),
            ("", b"x"),
        ],
    )
    def test_a_body_that_cannot_be_read_is_a_4xx(self, uploader, content_type, body):
        headers = {**uploader.headers, "Content-Type": content_type}
        answer = uploader.client.post(f"{uploader.url}/batches", content=body, headers=headers)
        assert 400 <= answer.status_code < 500
        assert answer.json()["error"]["message"]

    def test_a_body_over_the_limit_is_413_and_states_it(self, uploader, settings):
        length = str(settings.max_request_mib * MIB + 1)
        headers = {
            **uploader.headers,
            "Content-Type": "multipart/form-data; boundary=b",
            "Content-Length": length,
        }
        answer = uploader.client.post(f"{uploader.url}/batches", content=b"--b--", headers=headers)
        assert answer.status_code == 413
        assert f"{settings.max_request_mib} MiB" in answer.json()["error"]["message"]

    def test_the_documentation_shows_the_form(self, uploader):
        paths = uploader.client.get("/api/openapi.json").json()["paths"]
        post = paths["/api/v1/projects/{project_id}/batches"]["post"]
        form = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        assert set(form) == {"name", "kind", "files"}

    def test_more_files_than_a_form_usually_has(self, uploader):
        data = picture(1)
        batch = uploader.upload([(f"{number}.png", data) for number in range(1200)])
        assert batch["counts"] == {"stored": 1, "duplicate": 1199, "refused": 0}

    def test_head_is_answered(self, uploader):
        batch = uploader.upload({"a.png": picture(1)})
        for path in (f"/batches/{batch['id']}", f"/images/{batch['items'][0]['image_id']}/thumb"):
            answer = uploader.client.head(f"{uploader.url}{path}", headers=uploader.headers)
            assert answer.status_code == 200
            assert answer.content == b""


class TestOneBadFile:
    def test_never_fails_the_rest(self, uploader):
        good, torn = picture(1), picture(2, (80, 80), "JPEG")[:900]
        batch = uploader.upload(
            {
                "a.png": good,
                "torn.jpg": torn,
                "empty.jpg": b"",
                "notes.jpg": b"text",
                "x.svg": b"<svg/>",
                "old.rar": b"Rar!\x1a\x07\0",
                ".DS_Store": b"x",
                "cut.zip": pack({"x.png": good})[:60],
                "b.jpg": picture(3, kind="JPEG"),
            }
        )
        assert [(item["name"], item["outcome"], item["code"]) for item in batch["items"]] == [
            ("a.png", "STORED", None),
            ("torn.jpg", "REFUSED", "truncated"),
            ("empty.jpg", "REFUSED", "empty-file"),
            ("notes.jpg", "REFUSED", "not-an-image"),
            ("x.svg", "REFUSED", "unsupported-format"),
            ("old.rar", "REFUSED", "unsupported-archive"),
            ("cut.zip", "REFUSED", "not-a-zip"),
            ("b.jpg", "STORED", None),
        ]
        assert batch["ignored"] == [".DS_Store"]
        assert batch["counts"] == {"stored": 2, "duplicate": 0, "refused": 6}
        refused = uploader.get(f"/batches/{batch['id']}/items", outcome="REFUSED")
        assert refused["total"] == 6
        assert all(item["message"] for item in refused["items"])

    def test_a_file_over_the_limit_is_refused_by_its_limit(self, uploader, settings):
        data = picture(1) + bytes(settings.max_image_mib * MIB)
        batch = uploader.upload({"big.png": data, "a.png": picture(2)})
        assert batch["report"]["big.png"]["code"] == "too-large"
        assert f"{settings.max_image_mib} MiB" in batch["report"]["big.png"]["message"]
        assert batch["report"]["a.png"]["outcome"] == "STORED"

    def test_names_are_data(self, uploader):
        batch = uploader.upload(
            {"<img src=x onerror=alert(1)>.png": picture(1), "'; drop table images;--": picture(2)}
        )
        assert batch["counts"]["stored"] == 2
        assert "<img src=x onerror=alert(1)>.png" in batch["report"]

    def test_a_very_long_name(self, uploader):
        names = ["猫" * length + ".png" for length in (1000, 1001, 9000)]
        in_zip = pack({names[2]: picture(3)})
        batch = uploader.upload({names[0]: picture(1), names[1]: picture(2), "x.zip": in_zip})
        assert batch["counts"]["stored"] == 3

    def test_zip_members_that_lead_out_are_stored_under_a_harmless_name(self, uploader, settings):
        batch = uploader.upload({"slip.zip": pack({"../x.png": picture(1), "/tmp/y.png": picture(2)})})
        assert set(batch["report"]) == {"x.png", "tmp/y.png"}
        assert not (settings.images_folder.parent / "x.png").exists()

    def test_two_members_of_one_name_are_two_images(self, uploader):
        with pytest.warns(UserWarning, match="Duplicate name"):
            data = pack([("a.png", picture(1)), ("a.png", picture(2)), ("b.png", b"text")])
        batch = uploader.upload({"x.zip": data})
        assert set(batch["report"]) == {"a.png", "a.png (2)", "b.png"}
        assert batch["counts"] == {"stored": 2, "duplicate": 0, "refused": 1}


class TestSentAgain:
    def test_the_same_request_changes_nothing(self, uploader, count_rows):
        files = {"a.png": picture(1), "bad.png": b"text", "x.zip": pack({"c/d.png": picture(3), "bad": b"-"})}
        first = uploader.upload(files)
        again = uploader.upload(files, batch=first["id"])
        assert again["report"] == first["report"]
        assert again["counts"] == first["counts"] == {"stored": 2, "duplicate": 0, "refused": 2}
        assert count_rows(ImageRow) == 2

    def test_a_mended_file_takes_the_line_of_the_refused_one(self, uploader):
        first = uploader.upload({"a.png": picture(1)[:40]})
        assert first["counts"]["refused"] == 1
        again = uploader.upload({"a.png": picture(1)}, batch=first["id"])
        assert again["counts"] == {"stored": 1, "duplicate": 0, "refused": 0}
        assert again["report"]["a.png"]["code"] is None

    def test_within_one_request_a_refused_file_keeps_its_line(self, uploader):
        batch = uploader.upload([("a.png", b"text"), ("a.png", picture(1))])
        assert {name: line["outcome"] for name, line in batch["report"].items()} == {
            "a.png": "REFUSED",
            "a.png (2)": "STORED",
        }

    def test_another_picture_of_the_same_name_has_a_line_of_its_own(self, uploader):
        first = uploader.upload({"a.png": picture(1)})
        again = uploader.upload({"a.png": picture(2)}, batch=first["id"])
        assert set(again["report"]) == {"a.png", "a.png (2)"}

    def test_a_copy_names_the_first_file_and_its_batch(self, uploader):
        uploader.post("/batches", {"a.png": picture(1)}, name="Week 46")
        batch = uploader.upload({"b.png": picture(1), "c.png": picture(2), "d.png": picture(2)})
        assert (
            batch["report"]["b.png"]["message"] == "Same bytes as a.png in Week 46. Linked, not stored twice."
        )
        assert batch["report"]["d.png"]["message"] == "Same bytes as c.png. Linked, not stored twice."

    def test_another_project_has_its_own_image_of_the_same_bytes(self, uploader, client, settings):
        uploader.upload({"a.png": picture(1)})
        other = Uploader.in_new_project(client, settings).upload({"a.png": picture(1)})
        assert other["counts"]["stored"] == 1

    def test_eight_uploads_of_the_same_pictures_at_once(self, uploader, count_rows):
        files = {f"{number}.png": picture(number) for number in range(12)}
        reversed_files = dict(reversed(files.items()))
        answers = []

        def send(these):
            answers.append(uploader.post("/batches", these))

        threads = [threading.Thread(target=send, args=(these,)) for these in (files, reversed_files) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [201] * 8
        assert sum(answer.json()["counts"]["stored"] for answer in answers) == 12
        assert count_rows(ImageRow) == 12

    def test_four_requests_into_one_batch_at_once(self, uploader, count_rows):
        batch = uploader.upload({"0.png": picture(0)})
        sets = [{f"{number}.png": picture(number) for number in range(at, at + 8)} for at in (1, 4, 1, 4)]
        threads = [
            threading.Thread(target=uploader.post, args=(f"/batches/{batch['id']}/files", these))
            for these in sets
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert uploader.get(f"/batches/{batch['id']}")["counts"] == {
            "stored": 12,
            "duplicate": 0,
            "refused": 0,
        }


class TestTheForm:
    def test_of_too_many_parts_is_refused_with_two_ways_out(self, uploader, count_rows, monkeypatch):
        monkeypatch.setattr(endpoints, "MOST_FILES", 3)
        answer = uploader.post("/batches", {f"{number}.png": picture(number) for number in range(4)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too-many-files")
        assert "zip" in answer.json()["error"]["message"]
        assert count_rows(Batch) == 0

    def test_up_to_the_limit_is_taken(self, uploader, monkeypatch):
        monkeypatch.setattr(endpoints, "MOST_FILES", 3)
        batch = uploader.upload({f"{number}.png": picture(number) for number in range(3)})
        assert batch["counts"]["stored"] == 3

    def test_that_is_torn_is_the_senders_fault(self, uploader):
        headers = {**uploader.headers, "content-type": "multipart/form-data"}
        answer = uploader.client.post(f"{uploader.url}/batches", content=b"--x", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad-form")


def test_the_web_process_may_hold_as_many_files_as_the_system_lets_it():
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    try:
        allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class TestWork:
    def test_scores_are_asked_for_once_when_pictures_came(self, uploader, settings):
        batch = uploader.upload({f"{number}.png": picture(number) for number in range(5)})
        assert [(job["kind"], job["state"]) for job in batch["jobs"]] == [("SCORE", "QUEUED")]
        assert uploader.unfinished(JobKind.SCORE, batch["id"])

    def test_nothing_is_asked_for_when_all_was_refused(self, uploader):
        batch = uploader.upload({"a.png": b"text"})
        assert batch["jobs"] == []

    def test_new_pictures_in_a_scored_batch_are_scored_too(self, uploader, settings):
        batch = uploader.upload({"a.png": picture(1)})
        with session_scope(settings.database_url) as session:
            session.get_one(Batch, UUID(batch["id"])).status = BatchStatus.SCORED
        assert uploader.upload({"b.png": picture(2)}, batch=batch["id"])["status"] == "RECEIVED"

    @pytest.mark.parametrize("end", [work.finish, work.cancel])
    def test_a_failed_job_is_shown_until_a_later_one_has_come_to_its_end(self, uploader, settings, end):
        batch = uploader.upload({"a.png": picture(1)})

        def end_job(how, *words):
            with session_scope(settings.database_url) as session:
                how(session, work.find_unfinished(session, JobKind.SCORE, UUID(batch["id"])), *words)
            return [job["state"] for job in uploader.get(f"/batches/{batch['id']}")["jobs"]]

        assert end_job(work.fail, "The worker died.") == ["FAILED"]
        again = uploader.upload({"b.png": picture(2)}, batch=batch["id"])
        assert [job["state"] for job in again["jobs"]] == ["QUEUED"]
        assert end_job(end) == []

    def test_an_archive_is_left_to_the_worker(self, uploader):
        answer = uploader.post("/batches", {"x.zip": pack({"a.png": picture(1), "b.png": picture(2)})})
        receipt = answer.json()
        assert [item["outcome"] for item in receipt["items"]] == ["UNPACKING"]
        assert receipt["counts"]["stored"] == 0
        (job,) = receipt["jobs"]
        assert (job["kind"], job["state"], job["done"], job["total"]) == ("INGEST", "QUEUED", 0, 2)


class TestLabels:
    def labels(self, settings, uploader):
        with session_scope(settings.database_url) as session:
            rows = session.execute(
                select(ImageRow.name, Category.name)
                .outerjoin(Category, Category.id == ImageRow.category_id)
                .where(ImageRow.project_id == uploader.project_id)
            )
            return {image: category for image, category in rows}  # noqa: C416

    def test_the_folder_above_names_the_class_in_a_folder_upload_too(self, uploader, settings):
        uploader.upload({"set/lynx/a.png": picture(1), "set/wolf/b.png": picture(2)}, "labelled")
        assert self.labels(settings, uploader) == {"set/lynx/a.png": "lynx", "set/wolf/b.png": "wolf"}

    def test_a_picture_without_a_folder_is_kept_without_a_label_and_said(self, uploader, settings):
        batch = uploader.upload({"a.png": picture(1), "lynx/b.png": picture(2)}, "labelled")
        assert self.labels(settings, uploader) == {"a.png": None, "lynx/b.png": "lynx"}
        line = batch["report"]["a.png"]
        assert (line["outcome"], line["code"]) == ("STORED", "no-class-folder")

    def test_two_unicode_forms_and_spellings_are_one_class(self, uploader, settings):
        forms = [unicodedata.normalize(form, "élan") for form in ("NFC", "NFD")]
        folders = [*forms, " Élan "]
        uploader.upload({f"{folder}/{at}.png": picture(at) for at, folder in enumerate(folders)}, "labelled")
        labels = set(self.labels(settings, uploader).values())
        assert len(labels) == 1
        assert labels <= {"élan", "Élan"}

    def test_a_refused_picture_makes_no_class(self, uploader, count_rows):
        uploader.upload({"lynx/a.png": b"text"}, "labelled")
        assert count_rows(Category) == 0

    def test_a_folder_that_cannot_be_a_name_keeps_its_pictures(self, uploader, settings):
        batch = uploader.upload({"x" * 300 + "/a.png": picture(1), "lynx/b.png": picture(2)}, "labelled")
        assert batch["counts"]["stored"] == 2
        line = next(line for name, line in batch["report"].items() if name.endswith("a.png"))
        assert line["message"].startswith("Stored without a label: ")

    def test_sending_again_adds_no_second_opinion(self, uploader, count_rows):
        batch = uploader.upload({"lynx/a.png": picture(1)}, "labelled")
        uploader.upload({"lynx/a.png": picture(1)}, "labelled", batch["id"])
        uploader.upload({"lynx/a.png": picture(1)}, "labelled")
        assert count_rows(Annotation) == 1

    def test_labels_reach_images_that_came_without_them(self, uploader, settings):
        uploader.upload({"a.png": picture(1)})
        uploader.upload({"lynx/b.png": picture(1)}, "labelled")
        assert self.labels(settings, uploader) == {"a.png": "lynx"}

    def test_one_picture_in_two_classes_keeps_both_and_says_so(self, uploader, settings, count_rows):
        batch = uploader.upload({"hare/a.png": picture(1), "rabbit/a.png": picture(1)}, "labelled")
        assert self.labels(settings, uploader) == {"hare/a.png": None}
        assert count_rows(Annotation) == 2
        assert {line["code"] for line in batch["report"].values()} == {"conflicting-labels"}


class TestPictures:
    def test_a_browser_gets_what_we_made(self, uploader):
        data = picture(1, (400, 300), "JPEG", comment=b"secret place")
        batch = uploader.upload({"a.jpg": data})
        image_id = batch["items"][0]["image_id"]
        for size in ("thumb", "display"):
            answer = uploader.response(f"/images/{image_id}/{size}")
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert b"secret place" not in answer.content
        assert min(Image.open(io.BytesIO(uploader.picture(image_id, "thumb"))).size) == 256

    def test_a_copy_that_the_browser_has_is_not_sent_again(self, uploader):
        batch = uploader.upload({"a.png": picture(1)})
        url = f"{uploader.url}/images/{batch['items'][0]['image_id']}/display"
        etag = uploader.client.get(url, headers=uploader.headers).headers["etag"]
        answer = uploader.client.get(url, headers={**uploader.headers, "If-None-Match": etag})
        assert (answer.status_code, answer.content) == (304, b"")

    def test_an_image_says_its_name_and_label(self, uploader):
        batch = uploader.upload({"lynx/a.png": picture(1)}, "labelled")
        image = uploader.get(f"/images/{batch['items'][0]['image_id']}")
        assert (image["name"], image["label"], image["prediction"]) == ("lynx/a.png", "lynx", None)
        assert (image["width"], image["height"]) == (24, 16)


@pytest.fixture
def scored(uploader, settings):
    """A batch of ten images with made-up scores of an active version."""
    batch = uploader.upload({f"{number}.png": picture(number) for number in range(10)})
    with session_scope(settings.database_url) as session:
        project_id, batch_id = uploader.project_id, UUID(batch["id"])
        version = ModelVersion(
            project_id=project_id, number=1, status=VersionStatus.ACTIVE, backbone="efficientnet_lite0"
        )
        category = Category(project_id=project_id, name="lynx", name_key="lynx", status="ACTIVE")
        session.add_all([version, category])
        session.flush()
        session.get_one(Project, project_id).active_version_id = version.id
        images = session.scalars(select(ImageRow).where(ImageRow.batch_id == batch_id))
        for image in images:
            number = int(image.name.removesuffix(".png"))
            score = number / 10 + 0.02
            session.add(
                Prediction(
                    model_version_id=version.id,
                    image_id=image.id,
                    batch_id=batch_id,
                    memory_revision=0,
                    category_id=category.id,
                    confidence=1 - score,
                    is_known=score < 0.5,
                    unknown_score=score,
                    openness=score,
                    informativeness=0.5,
                    free_energy=float(number // 2),
                    top=[[str(category.id), 1 - score]],
                    nearest=[[str(category.id), 0.4]],
                )
            )
    return batch


class TestResults:
    def pages(self, uploader, batch, **params):
        after, seen = None, []
        while True:
            extra = {"after": after} if after else {}
            page = uploader.get(f"/batches/{batch['id']}/results", limit=3, **params, **extra)
            seen += page["results"]
            after = page["next"]
            if after is None:
                return seen

    @pytest.mark.parametrize("order", ["energy", "newest"])
    def test_pages_show_every_image_once_and_in_order(self, uploader, scored, order):
        seen = self.pages(uploader, scored, order=order)
        assert len({result["image_id"] for result in seen}) == len(seen) == 10
        if order == "energy":
            energies = [result["free_energy"] for result in seen]
            assert energies == sorted(energies, reverse=True)

    def test_flags_filter_and_add_up(self, uploader, scored):
        page = uploader.get(f"/batches/{scored['id']}/results")
        assert page["counts"] == {"known": 5, "uncertain": 1, "new": 4}
        assert page["images"] == 10
        for flag, count in page["counts"].items():
            seen = self.pages(uploader, scored, flag=flag)
            assert len(seen) == count
            assert {result["flag"] for result in seen} == {flag}

    def test_a_result_says_what_the_version_says(self, uploader, scored):
        result = uploader.get(f"/batches/{scored['id']}/results")["results"][0]
        assert result["category"] == "lynx"
        assert result["nearest"][0]["name"] == "lynx"
        assert result["nearest"][0]["value"] == pytest.approx(0.4)
        assert uploader.picture(result["image_id"], "thumb")
        assert uploader.get(f"/images/{result['image_id']}")["prediction"] == result

    @pytest.mark.parametrize("after", ["x", "1.0~x", "~", "2026-01-01~x"])
    def test_a_place_that_does_not_exist_is_422(self, uploader, scored, after):
        answer = uploader.response(f"/batches/{scored['id']}/results", after=after)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "bad-cursor"

    @pytest.mark.parametrize("params", [{"flag": "x"}, {"order": "name"}, {"limit": 0}, {"limit": 100_000}])
    def test_only_known_filters_and_orders(self, uploader, scored, params):
        assert uploader.response(f"/batches/{scored['id']}/results", **params).status_code == 422

    def test_before_any_score(self, uploader):
        batch = uploader.upload({"a.png": picture(1)})
        page = uploader.get(f"/batches/{batch['id']}/results")
        assert (page["results"], page["images"], page["next"]) == ([], 1, None)

    def test_batches_are_listed_newest_first(self, uploader):
        ids = [uploader.upload({"a.png": picture(1)})["id"] for _ in range(3)]
        assert [batch["id"] for batch in uploader.get("/batches")] == ids[::-1]
        assert [batch["id"] for batch in uploader.get("/batches", offset=1, limit=1)] == [ids[1]]
        assert uploader.response(f"/batches/{uuid4()}").status_code == 404


def test_the_number_of_statements_does_not_grow_with_the_number_of_files(uploader, settings):
    def statements(batch_name, count) -> int:
        seen = []
        with session_scope(settings.database_url) as session:
            batch = service.create_batch(session, uploader.project_id, batch_name, BatchKind.UNLABELLED, None)
            files = [
                Stored(
                    f"{at}.png",
                    9,
                    hashlib.sha256(f"{batch_name}{at}".encode()).hexdigest(),
                    9,
                    9,
                    "image/png",
                    (),
                )
                for at in range(count)
            ]
            connection = session.connection()
            event.listen(connection, "before_cursor_execute", lambda *_: seen.append(1))
            record(session, batch, files)
        return len(seen)

    assert statements("few", 3) == statements("many", 60)


@pytest.mark.parametrize("page", ["/batches", ""])
def test_the_number_of_statements_of_a_page_does_not_grow_with_the_number_of_batches(
    uploader, settings, scored, page
):
    def statements() -> int:
        seen = []
        engine = engine_for(settings.database_url)
        event.listen(engine, "before_cursor_execute", note := lambda *_: seen.append(1))
        answer = uploader.client.get(f"/projects/{uploader.project_id}{page}", headers=uploader.headers)
        event.remove(engine, "before_cursor_execute", note)
        assert answer.status_code == 200
        return len(seen)

    few = statements()
    for number in range(3):
        uploader.post("/batches", {"a.png": picture(20 + number)})
    assert statements() == few


def test_every_stored_image_has_its_file(uploader, settings):
    uploader.upload({"x.zip": pack({f"{number}.png": picture(number) for number in range(70)})})
    store = ImageStore(settings.images_folder)
    with session_scope(settings.database_url) as session:
        images = session.scalars(select(ImageRow).where(ImageRow.project_id == uploader.project_id)).all()
    assert len(images) == 70
    for image in images:
        assert len(store.original(image.sha256)) == image.byte_size

"""One image over HTTP, with a real predictor beside a real network."""

import base64
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pool import Pool
from redis import Redis

from server.database import engine_for, session_scope
from server.permissions import Role
from server.predictions import service
from server.predictions.schemas import PredictionOut
from server.predictions.wire import HEARTBEAT, REQUESTS
from server.settings import MIB
from worker.engine import Engine
from worker.predictors import Predictors


def png(width=64, height=48):
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(values).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def redis(settings):
    with Redis.from_url(settings.redis_url) as redis:
        redis.delete(HEARTBEAT, REQUESTS)
        yield redis
        redis.delete(HEARTBEAT, REQUESTS)


@pytest.fixture(scope="module")
def predictor(settings, redis):
    engine = Engine(settings)
    predictors = Predictors(engine)
    predictors.start()
    deadline = time.monotonic() + 30
    while not service.has_predictor(redis):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield predictors
    predictors.stop()
    engine.close()


@pytest.fixture(scope="module")
def world(settings):
    with session_scope(settings.database_url) as session:
        pool = Pool(session)
        return pool.project.id, {
            "viewer": pool.person(Role.VIEWER).headers,
            "stranger": pool.person(None).headers,
        }


@pytest.fixture
def predict(client, world):
    project_id, people = world

    def post(params=None, who="viewer", **request):
        headers = {**people.get(who, {}), **request.pop("headers", {})}
        return client.post(
            f"/api/v1/projects/{project_id}/predictions", params=params, headers=headers, **request
        )

    return post


@pytest.fixture
def change_settings(app, settings):
    """Other settings of the application, until the test ends."""

    def change(**values):
        app.state.settings = settings.model_copy(update=values)

    yield change
    app.state.settings = settings


def error(answer):
    return answer.json()["error"]


class TestWithoutPredictor:
    """Runs before the predictor of this module starts."""

    def test_nobody_there_is_503_at_once(self, predict, redis):
        redis.delete(HEARTBEAT)
        answer = predict(files={"file": ("a.png", png())})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "No predictor is running" in error(answer)["message"]
        assert redis.llen(REQUESTS) == 0

    def test_a_full_list_is_503(self, predict, redis, settings):
        redis.set(HEARTBEAT, 1, ex=60)
        redis.rpush(REQUESTS, *[b"{}"] * settings.predict_queue_limit)
        answer = predict(files={"file": ("a.png", png())})
        redis.delete(REQUESTS, HEARTBEAT)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "Too many predictions" in error(answer)["message"]

    def test_past_the_deadline_is_503(self, predict, redis, change_settings):
        redis.set(HEARTBEAT, 1, ex=60)
        change_settings(predict_deadline_seconds=0.1)
        answer = predict(files={"file": ("a.png", png())})
        redis.delete(REQUESTS, HEARTBEAT)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "No prediction within 0.1 s" in error(answer)["message"]

    def test_more_than_the_threads_allow_is_503_so_that_annotators_go_on(self, predict, redis):
        redis.set(HEARTBEAT, 1, ex=60)
        taken = 0
        while service.WAITING_HERE.acquire(blocking=False):
            taken += 1
        answer = predict(files={"file": ("a.png", png())})
        for _ in range(taken):
            service.WAITING_HERE.release()
        redis.delete(HEARTBEAT)
        assert taken == 32
        assert answer.status_code == 503


class TestAccess:
    def test_anonymous(self, predict):
        assert predict(who=None, files={"file": ("a.png", png())}).status_code == 401

    def test_other_project(self, predict):
        assert predict(who="stranger", files={"file": ("a.png", png())}).status_code == 404


@pytest.mark.usefixtures("predictor")
class TestPredict:
    def test_a_project_in_which_nothing_was_scored_knows_nothing(self, predict):
        """Act 6."""
        answer = predict(files={"file": ("a.png", png())})
        assert answer.status_code == 200
        out = PredictionOut.model_validate(answer.json())
        assert (out.top, out.nearest, out.is_known, out.flag) == ([], [], False, "new")
        assert (out.image.width, out.image.height) == (64, 48)

    @pytest.mark.parametrize("top_k", [0, -1, "five"])
    def test_top_k_below_one_is_422(self, predict, top_k):
        answer = predict({"top_k": top_k}, files={"file": ("a.png", png())})
        assert answer.status_code == 422
        assert "top_k" in error(answer)["message"]

    def test_base64_in_json(self, predict):
        text = base64.b64encode(png()).decode()
        lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
        for written in (text, lines, f"data:image/png;base64,{text}", text.rstrip("=")):
            answer = predict(json={"image": written})
            assert answer.status_code == 200, answer.text
            assert answer.json()["image"] == {"width": 64, "height": 48, "notes": []}

    def test_broken_base64_says_so(self, predict):
        answer = predict(json={"image": "%%%"})
        assert (answer.status_code, error(answer)["code"]) == (422, "broken-base64")

    @pytest.mark.parametrize("body", [{}, {"image": 5}, {"image": None}, ["image"]])
    def test_json_without_an_image_says_what_is_expected(self, predict, body):
        answer = predict(json=body)
        assert answer.status_code == 422
        assert '{"image": "<base64>"}' in error(answer)["message"]

    def test_json_that_is_none(self, predict):
        answer = predict(content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 422

    def test_a_part_without_a_file_name_says_so(self, predict):
        body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + png() + b"\r\n--x--\r\n"
        answer = predict(content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert (answer.status_code, error(answer)["code"]) == (422, "no-file-name")

    def test_also_a_large_one(self, predict):
        body = (
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + b"a" * 3 * MIB + b"\r\n--x--\r\n"
        )
        answer = predict(content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert (answer.status_code, error(answer)["code"]) == (422, "no-file-name")

    def test_a_form_without_the_part(self, predict):
        answer = predict(files={"picture": ("a.png", png())})
        assert (answer.status_code, error(answer)["code"]) == (422, "no-file")

    def test_another_kind_of_body_is_415(self, predict):
        answer = predict(content=png(), headers={"content-type": "image/png"})
        assert answer.status_code == 415
        assert "multipart/form-data" in error(answer)["message"]

    def test_an_empty_file(self, predict):
        answer = predict(files={"file": ("a.png", b"")})
        assert (answer.status_code, error(answer)["code"]) == (422, "empty-file")

    def test_too_large_states_the_limit(self, predict, change_settings):
        change_settings(max_image_mib=1)
        answer = predict(files={"file": ("a.png", b"\0" * (MIB + 1))})
        assert answer.status_code == 413
        assert "1 MiB" in error(answer)["message"]

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"<html><body>Log in</body></html>", 415, "not-an-image"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported-format"),
            (png()[:2000], 422, "truncated"),
        ],
    )
    def test_what_is_no_picture_is_refused_with_the_decoders_code(self, predict, content, status, code):
        answer = predict(files={"file": ("a.jpg", content)})
        assert (answer.status_code, error(answer)["code"]) == (status, code)

    def test_a_bad_image_spoils_no_other(self, predict):
        assert predict(files={"file": ("a.jpg", b"no picture")}).status_code == 415
        assert predict(files={"file": ("a.png", png())}).status_code == 200

    def test_the_database_connection_is_free_while_the_predictor_works(self, predict, settings):
        assert predict(files={"file": ("a.png", png())}).status_code == 200
        assert engine_for(settings.database_url).pool.checkedout() == 0


class TestFieldCases:
    """Pictures of the field cases, where they are at hand."""

    @pytest.fixture
    def images(self):
        shared = Path(os.environ.get("NEWFOUND_SHARED", Path(__file__).parents[4] / "shared"))
        folder = shared / "cases" / "images"
        if not folder.is_dir():
            pytest.skip("the field cases are not at hand")
        return folder

    @pytest.mark.usefixtures("predictor")
    def test_each_is_answered_or_refused_with_a_reason(self, predict, images):
        for file in sorted(images.iterdir()):
            answer = predict(files={"file": (file.name, file.read_bytes())})
            assert answer.status_code in (200, 413, 415, 422), file.name
            if answer.status_code != 200:
                assert error(answer)["message"], file.name

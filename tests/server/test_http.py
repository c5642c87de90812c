"""HTTP rules of every path: numbers, headers, CSRF, body limits, HEAD; and how errors look."""

import re
from uuid import uuid4

import asgi
import pytest
import structlog
from people import add_person, make_team
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.testclient import TestClient

from server.app import body_limit, create_app
from server.deps import SessionDep
from server.errors import NewfoundError, Unavailable
from server.http import is_cross_site
from server.settings import MIB
from server.tables import Project, User
from server.tables.base import utc_now

ORIGIN = "http://testserver"


@pytest.fixture(scope="module")
def small_app(settings):
    """The application with small limits and a few routes that fail, each in its way."""
    app = create_app(settings.model_copy(update={"max_request_mib": 2, "max_image_mib": 1}))

    @app.get("/api/v1/bug")
    @app.get("/bug")
    def bug():
        raise KeyError("secret")

    @app.get("/api/v1/away")
    def away():
        raise Unavailable("Not now.", retry_after=7)

    @app.post("/api/v1/nul")
    def nul(session: SessionDep):
        session.add(Project(name="a\x00b"))
        session.flush()

    @app.post("/api/v1/clash")
    def clash(session: SessionDep):
        email = f"{uuid4()}@example.org"
        for _ in range(2):
            session.add(User(email=email, name="x", password_hash="x"))
        session.flush()

    @app.post("/api/v1/broken-rule")
    def broken_rule(session: SessionDep):
        session.add(Project(name="x", round_size=0, created_at=utc_now()))
        session.flush()

    @app.post("/api/v1/torn")
    async def torn(request: Request):
        await request.body()

    return app


@pytest.fixture
def small(small_app):
    with TestClient(small_app, raise_server_exceptions=False) as client:
        yield client


class TestErrors:
    def test_have_one_shape(self, client):
        for answer in (client.get("/api/v1/me"), client.get("/api/v1/nowhere"), client.put("/api/v1/me")):
            assert answer.json()["error"].keys() == {"code", "message", "details"}
            assert answer.headers["content-type"] == "application/json"

    def test_are_pages_for_people(self, client):
        answer = client.get("/nowhere")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "nothing at this address" in answer.text

    def test_name_every_field_at_fault_without_its_value(self, client):
        answer = client.post("/api/v1/sessions", json={"email": "x" * 301, "password": 7})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "invalid-input")
        assert [field["field"] for field in error["details"]["fields"]] == ["email", "password"]
        assert "xxx" not in answer.text

    def test_a_body_that_is_no_json(self, client):
        answer = client.post(
            "/api/v1/sessions", content=b'{"email": ', headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["message"]) == (422, "The body is not valid JSON.")

    def test_say_when_to_come_back(self, small):
        answer = small.get("/api/v1/away")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")

    def test_text_that_postgresql_cannot_hold_is_the_senders_fault(self, small):
        assert small.post("/api/v1/nul").status_code == 422

    def test_a_clash_is_a_conflict(self, small):
        assert small.post("/api/v1/clash").status_code == 409

    def test_any_other_broken_rule_is_a_bug(self, small):
        assert small.post("/api/v1/broken-rule").status_code == 500

    def test_every_code_is_fit_for_programs(self):
        kinds = [NewfoundError, *NewfoundError.__subclasses__()]
        assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code) for kind in kinds)


class TestBugs:
    def test_give_a_number_that_is_in_the_log(self, small):
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            answer = small.get("/api/v1/bug")
        number = answer.json()["error"]["details"]["number"]
        assert answer.status_code == 500
        assert re.fullmatch(r"[0-9A-F]{4}-[0-9A-F]{4}", number)
        assert number in answer.json()["error"]["message"]
        (failure,) = [line for line in lines if line["event"] == "request_failed"]
        assert (failure["request_id"], failure["exc_info"]) == (number, True)

    def test_tell_nothing_of_the_inside(self, small):
        for path in ("/api/v1/bug", "/bug"):
            answer = small.get(path)
            assert "secret" not in answer.text
            assert "Traceback" not in answer.text
            assert answer.headers["x-request-id"] in answer.text

    def test_keep_the_security_headers(self, small):
        assert small.get("/bug").headers["content-security-policy"]


class TestClientThatLeaves:
    def test_in_the_middle_of_its_body_is_no_bug(self, small_app, settings):
        messages = iter(
            [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
        )
        headers = add_person(settings).headers
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/torn",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "query_string": b"",
        }

        async def receive():
            return next(messages)

        async def send(message):
            raise AssertionError(f"nobody reads {message}")

        with structlog.testing.capture_logs() as lines:
            asgi.call(small_app, scope, receive, send)
        assert [line["event"] for line in lines] == ["client_left", "request"]


class TestRequestNumber:
    def test_every_answer_has_one(self, client):
        first, second = (client.get("/health").headers["x-request-id"] for _ in range(2))
        assert first != second

    def test_a_proxys_number_is_kept(self, client):
        sent = {"x-request-id": "edge-42"}
        assert client.get("/health", headers=sent).headers["x-request-id"] == "edge-42"

    @pytest.mark.parametrize("number", ["", "x" * 65, "a b", "<script>", "a\tb"])
    def test_but_not_just_anything(self, client, number):
        assert client.get("/health", headers={"x-request-id": number}).headers["x-request-id"] != number

    def test_each_request_is_one_line(self, client):
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            answer = client.get("/api/v1/me")
        (line,) = [line for line in lines if line["event"] == "request"]
        assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/me", 401)
        assert line["request_id"] == answer.headers["x-request-id"]

    @pytest.mark.parametrize(
        ("method", "path", "level"),
        [("GET", "/health", "debug"), ("GET", "/nowhere", "info"), ("POST", "/api/v1/sessions", "info")],
    )
    def test_reading_without_fault_is_told_at_debug_level_only(self, client, method, path, level):
        with structlog.testing.capture_logs() as lines:
            client.request(method, path)
        assert [line["log_level"] for line in lines if line["event"] == "request"] == [level]


class TestSecurityHeaders:
    @pytest.mark.parametrize("path", ["/health", "/login", "/nowhere", "/api/v1/me"])
    def test_on_every_answer(self, client, path):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


class TestCrossSite:
    @pytest.mark.parametrize(
        "headers",
        [
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": f"{ORIGIN}.evil.example"},
            {"origin": f"{ORIGIN}:81"},
        ],
    )
    def test_another_sites_change_is_refused_before_anything_else(self, client, settings, headers):
        headers |= add_person(settings).headers
        answer = client.post("/api/v1/projects", json={"name": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross-site")

    @pytest.mark.parametrize(
        "headers",
        [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": ORIGIN}],
    )
    def test_ones_own_pages_and_programs_pass(self, client, settings, headers):
        headers |= add_person(settings).headers
        assert client.post("/api/v1/projects", json={"name": "x"}, headers=headers).status_code == 201

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_every_change_counts(self, method):
        assert is_cross_site(method, Headers({"sec-fetch-site": "cross-site"}))

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_reading_does_not(self, method):
        assert not is_cross_site(method, Headers({"sec-fetch-site": "cross-site"}))


class TestBodyLimit:
    def test_a_stated_length_over_the_limit_is_refused_with_the_limit(self, small):
        answer = small.post("/api/v1/sessions", content=b"x" * (MIB + 1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")
        assert "1 MiB" in answer.json()["error"]["message"]
        assert answer.json()["error"]["details"]["limit_bytes"] == MIB

    def test_a_length_that_is_not_stated_is_counted(self, small):
        pieces = (b"x" * 100_000 for _ in range(11))
        answer = small.post("/api/v1/sessions", content=pieces, headers={"content-type": "application/json"})
        assert answer.status_code == 413

    def test_a_length_that_lies_is_counted(self, small):
        pieces = (b"x" * 100_000 for _ in range(11))
        headers = {"content-type": "application/json", "content-length": "10"}
        assert small.post("/api/v1/sessions", content=pieces, headers=headers).status_code == 413

    def test_up_to_the_limit_it_is_read(self, small):
        answer = small.post(
            "/api/v1/sessions", content=b" " * MIB, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422

    @pytest.mark.parametrize("path", ["batches", f"batches/{uuid4()}/files"])
    def test_files_may_be_larger_where_files_go(self, settings, path):
        path = f"/api/v1/projects/{uuid4()}/{path}"
        assert body_limit(settings, path, "multipart/form-data; boundary=x") == 512 * MIB
        assert body_limit(settings, path, "application/json") == MIB
        assert body_limit(settings, path, "") == MIB

    @pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/json"])
    def test_an_image_to_predict_may_be_larger_in_either_form(self, settings, content_type):
        assert (
            body_limit(settings, f"/api/v1/projects/{uuid4()}/predictions", content_type) > 64 * MIB * 4 / 3
        )

    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/sessions",
            f"/api/v1/projects/{uuid4()}/batches/{uuid4()}",
            f"/api/v1/projects/{uuid4()}/batches/{uuid4()}/results",
            f"/projects/{uuid4()}/batches/{uuid4()}",
            "/api/v1/batches",
            "/predictions",
        ],
    )
    def test_nowhere_else(self, settings, path):
        assert body_limit(settings, path, "multipart/form-data; boundary=x") == MIB

    def test_an_upload_over_its_limit(self, small, settings):
        team = make_team(small, settings)
        files = [("files", (f"{number}.png", b"x" * MIB)) for number in range(3)]
        answer = small.post(
            f"{team.url}/batches", data={"name": "x"}, files=files, headers=team.owner.headers
        )
        assert answer.status_code == 413
        assert "2 MiB" in answer.json()["error"]["message"]


class TestHead:
    @pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/login", "/api/openapi.json"])
    def test_is_answered_like_get_without_a_body(self, client, path):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-length"] == str(len(get.content))

    def test_of_what_is_not_there(self, client):
        assert client.head("/api/v1/nowhere").status_code == 404
        assert client.head("/api/v1/me").status_code == 401


class TestHealth:
    @pytest.mark.parametrize("prefix", ["", "/api/v1"])
    def test_says_what_answers(self, client, app, prefix):
        assert client.get(f"{prefix}/health").json() == {"status": "ok"}
        ready = client.get(f"{prefix}/ready")
        assert ready.status_code == 200
        assert ready.json() == {"database": True, "redis": True, "predictor": False}

    def test_a_predictor_that_lives_is_seen(self, client, app):
        app.state.redis.set("newfound:predictor", 1, px=3000)
        assert client.get("/ready").json()["predictor"] is True
        app.state.redis.delete("newfound:predictor")

    def test_without_database_or_redis_it_lives_but_is_not_ready(self, settings):
        lost = {"database_url": "postgresql+psycopg://x@/x?host=/nowhere", "redis_url": "unix:///nowhere"}
        with TestClient(create_app(settings.model_copy(update=lost))) as client:
            assert client.get("/health").status_code == 200
            ready = client.get("/ready")
            assert (ready.status_code, ready.json()) == (
                503,
                {"database": False, "redis": False, "predictor": False},
            )
            answer = client.get("/api/v1/projects", headers={"authorization": "Bearer nf_x"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")

    def test_an_empty_database_is_not_ready(self, settings, empty_database):
        bare = settings.model_copy(update={"database_url": empty_database})
        with TestClient(create_app(bare)) as client:
            assert client.get("/ready").json()["database"] is False


class TestDocs:
    def test_need_nothing_from_outside(self, client):
        page = client.get("/api/docs")
        assert page.status_code == 200
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(addresses) == 4
        for address in set(addresses) - {"data:,"}:
            assert client.get(f"/api/{address}").status_code == 200
        assert "<script>" not in page.text
        assert "style=" not in page.text

    def test_describe_every_feature(self, client):
        paths = client.get("/api/openapi.json").json()["paths"]
        operations = [operation for methods in paths.values() for operation in methods.values()]
        tags = {tag for operation in operations for tag in operation["tags"]}
        assert tags >= {"accounts", "projects", "batches", "categories", "queue", "predictions"}
        assert all(operation.get("description") for operation in operations)

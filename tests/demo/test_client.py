"""The REST client: how uploads are cut, and what it says when it cannot go on."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from demo.client import REQUEST_BYTES, REQUEST_FILES, Client, ServiceError, parts
from demo.errors import DemoError


class TestParts:
    def test_nothing(self) -> None:
        assert list(parts([])) == []

    def test_many_small_files_are_cut_by_number(self) -> None:
        files = [(str(number), b"x") for number in range(REQUEST_FILES + 1)]
        assert [len(part) for part in parts(files)] == [REQUEST_FILES, 1]

    def test_large_files_are_cut_by_size(self) -> None:
        half = bytes(REQUEST_BYTES // 2)
        assert [[name for name, _ in part] for part in parts([("a", half), ("b", half), ("c", b"x")])] == [
            ["a", "b"],
            ["c"],
        ]

    def test_a_file_above_the_size_goes_alone(self) -> None:
        large = bytes(REQUEST_BYTES + 1)
        assert [len(part) for part in parts([("a", b"x"), ("b", large), ("c", b"x")])] == [1, 1, 1]


class TestNoService:
    def test_says_how_to_start_one(self) -> None:
        with Client("http://127.0.0.1:9", "nf_x") as client, pytest.raises(DemoError) as caught:
            client.find_project("Emoji")
        assert "No service answers at http://127.0.0.1:9" in str(caught.value)
        assert "newfound up" in str(caught.value)


class Faltering(BaseHTTPRequestHandler):
    """Hangs up on the first request, answers all later ones."""

    requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).requests += 1
        if self.requests == 1:
            self.close_connection = True
            return
        body = b'{"task": null}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestBrokenConnection:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        Faltering.requests = 0
        server = HTTPServer(("127.0.0.1", 0), Faltering)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()

    def test_what_may_be_repeated_is_repeated(self, url: str) -> None:
        with Client(url, "nf_x") as client:
            assert client.claim("p") is None
        assert Faltering.requests == 2

    def test_what_would_be_done_twice_is_not(self, url: str) -> None:
        with Client(url, "nf_x") as client, pytest.raises(DemoError, match="POST /projects broke off"):
            client.create_project("Twice", "", 8)
        assert Faltering.requests == 1


class TestServiceError:
    request = httpx.Request("POST", "http://localhost/api/v1/projects")

    def test_names_request_and_reason(self) -> None:
        error = ServiceError(self.request, 422, {"code": "invalid-input", "message": "Name: give one."})
        assert str(error) == "POST /api/v1/projects answered 422: Name: give one."
        assert (error.status, error.code, error.details) == (422, "invalid-input", {})

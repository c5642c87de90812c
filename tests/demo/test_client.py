"""The REST client: how uploads are cut, and what it says when it cannot go on."""

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


class TestServiceError:
    request = httpx.Request("POST", "http://localhost/api/v1/projects")

    def test_names_request_and_reason(self) -> None:
        error = ServiceError(self.request, 422, {"code": "invalid-input", "message": "Name: give one."})
        assert str(error) == "POST /api/v1/projects answered 422: Name: give one."
        assert (error.status, error.code, error.details) == (422, "invalid-input", {})

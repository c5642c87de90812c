"""Every address of a project × everybody: who gets 401, 404, 403, and who gets through.

The table is the specification. An endpoint that is missing in it, or has gone, fails a test.
"""

import re
from uuid import uuid4

import pytest
from people import add_person, make_team
from starlette.testclient import TestClient

from server.permissions import ROLE_PERMISSIONS, Permission, Role

NEEDED = {
    ("GET", ""): Permission.PROJECT_READ,
    ("PATCH", ""): Permission.PROJECT_CHANGE,
    ("GET", "/members"): Permission.PROJECT_READ,
    ("PUT", "/members"): Permission.PROJECT_CHANGE,
    ("DELETE", "/members/{user_id}"): Permission.PROJECT_CHANGE,
    ("GET", "/jobs"): Permission.PROJECT_READ,
    ("GET", "/batches"): Permission.IMAGE_READ,
    ("POST", "/batches"): Permission.IMAGE_UPLOAD,
    ("GET", "/batches/{batch_id}"): Permission.IMAGE_READ,
    ("POST", "/batches/{batch_id}/files"): Permission.IMAGE_UPLOAD,
    ("POST", "/batches/{batch_id}/cancel"): Permission.IMAGE_UPLOAD,
    ("POST", "/batches/{batch_id}/resume"): Permission.IMAGE_UPLOAD,
    ("GET", "/batches/{batch_id}/items"): Permission.IMAGE_READ,
    ("GET", "/batches/{batch_id}/results"): Permission.IMAGE_READ,
    ("GET", "/images/{image_id}"): Permission.IMAGE_READ,
    ("GET", "/images/{image_id}/thumb"): Permission.IMAGE_READ,
    ("GET", "/images/{image_id}/display"): Permission.IMAGE_READ,
    ("GET", "/categories"): Permission.PROJECT_READ,
    ("POST", "/categories"): Permission.CATEGORY_PROPOSE,
    ("POST", "/categories/check"): Permission.CATEGORY_PROPOSE,
    ("GET", "/categories/{category_id}"): Permission.PROJECT_READ,
    ("PATCH", "/categories/{category_id}"): Permission.CATEGORY_CHANGE,
    ("POST", "/categories/{category_id}/aliases"): Permission.CATEGORY_CHANGE,
    ("DELETE", "/categories/aliases/{alias_id}"): Permission.CATEGORY_CHANGE,
    ("GET", "/queue"): Permission.PROJECT_READ,
    ("POST", "/queue/claim"): Permission.ANNOTATION_CREATE,
    ("GET", "/queue/{task_id}"): Permission.ANNOTATION_CREATE,
    ("POST", "/queue/{task_id}/submit"): Permission.ANNOTATION_CREATE,
    ("POST", "/queue/{task_id}/skip"): Permission.ANNOTATION_CREATE,
    ("POST", "/queue/{task_id}/renew"): Permission.ANNOTATION_CREATE,
    ("POST", "/queue/{task_id}/release"): Permission.ANNOTATION_CREATE,
    ("POST", "/queue/undo"): Permission.ANNOTATION_CREATE,
    ("POST", "/predictions"): Permission.PREDICTION_CREATE,
    ("GET", "/versions"): Permission.PROJECT_READ,
    ("POST", "/versions"): Permission.VERSION_TRAIN,
    ("GET", "/versions/{version_id}"): Permission.PROJECT_READ,
    ("POST", "/versions/{version_id}/activate"): Permission.VERSION_TRAIN,
    ("POST", "/versions/{version_id}/cancel"): Permission.VERSION_TRAIN,
}
PREFIX = "/api/v1/projects/{project_id}"
ENDPOINTS = sorted(NEEDED)
# What a request without a body can get once its sender may do it: the body or the thing is missing.
PAST_THE_DOOR = {200, 201, 202, 204, 404, 409, 415, 422, 503}


def ids(endpoint):
    return " ".join(endpoint)


def send(team, endpoint, headers):
    method, path = endpoint
    url = team.url + re.sub(r"\{\w+\}", lambda _: str(uuid4()), path)
    return team.client.request(method, url, headers=headers)


@pytest.fixture(scope="module")
def team(app, settings):
    with TestClient(app) as client:
        yield make_team(client, settings)


@pytest.fixture(scope="module")
def stranger(settings):
    return add_person(settings, "Stranger")


@pytest.fixture(scope="module")
def admin(settings):
    return add_person(settings, "Root", is_admin=True)


def test_the_table_is_complete(app):
    served = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if path.startswith(PREFIX)
    }
    assert served == set(NEEDED)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=ids)
class TestEveryEndpoint:
    def test_anonymous(self, team, endpoint):
        answer = send(team, endpoint, {})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not-authenticated")

    def test_a_stranger_sees_no_project(self, team, stranger, endpoint):
        answer = send(team, endpoint, stranger.headers)
        assert answer.status_code == 404
        assert "no such project" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("role", Role)
    def test_a_role_gets_through_or_is_told_why_not(self, team, endpoint, role):
        answer = send(team, endpoint, team.members[role].headers)
        if NEEDED[endpoint] in ROLE_PERMISSIONS[role]:
            assert answer.status_code in PAST_THE_DOOR
            assert "no such project" not in answer.text
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not-permitted")
            assert role.lower() in answer.json()["error"]["message"]

    def test_an_admin_gets_through(self, team, admin, endpoint):
        answer = send(team, endpoint, admin.headers)
        assert answer.status_code in PAST_THE_DOOR
        assert "no such project" not in answer.text


class TestRoles:
    def test_an_owner_may_do_everything(self):
        assert ROLE_PERMISSIONS[Role.OWNER] == frozenset(Permission)

    def test_each_role_sees_at_least_what_a_viewer_sees(self):
        assert all(ROLE_PERMISSIONS[Role.VIEWER] <= ROLE_PERMISSIONS[role] for role in Role)

    def test_no_role_is_forgotten(self):
        assert set(ROLE_PERMISSIONS) == set(Role)

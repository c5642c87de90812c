"""The pages over plain HTTP: who sees what, where a form leads, that nothing of a person runs as code."""

import re
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from scene import HOSTILE, PASSWORD, Scene
from sqlalchemy import select
from starlette.testclient import TestClient

from server.accounts import service as accounts
from server.database import session_scope
from server.deps import SESSION_COOKIE
from server.permissions import Role
from server.tables import Batch, BatchKind, Category, CategoryStatus, Job, ModelVersion, Project, User

MEMBER_PAGES = ["", "/batches", "/batches/new", "/annotate", "/categories", "/models"]
FORMS = [
    "/batches/{batch}/cancel",
    "/batches/{batch}/resume",
    "/models/train",
    "/models/{version}/activate",
    "/categories",
    "/categories/{category}/rename",
    "/categories/{category}/status",
    "/categories/{category}/aliases",
]


@pytest.fixture
def enter(client: TestClient, scene: Scene) -> Iterator["Enter"]:
    """The client as a person of some role; redirects are not followed."""
    client.follow_redirects = False
    yield Enter(client, scene)
    client.cookies.clear()


class Enter:
    """Signs the client in."""

    def __init__(self, client: TestClient, scene: Scene) -> None:
        self.client = client
        self.scene = scene

    def __call__(self, role: Role | None = Role.OWNER) -> TestClient:
        self.client.cookies.clear()
        if role is not None:
            self.client.cookies.set(SESSION_COOKIE, self.scene.cookies[role])
        return self.client


def address(scene: Scene, path: str) -> str:
    """A form's address with the scene's ids."""
    return scene.home + path.format(
        batch=scene.batch_id, version=scene.version_id, category=scene.category_id
    )


class TestWhoMay:
    @pytest.mark.parametrize("path", MEMBER_PAGES)
    def test_anonymous_is_led_to_the_login_and_back(self, enter: Enter, scene: Scene, path: str) -> None:
        response = enter(None).get(scene.home + path)
        assert response.status_code == 303
        assert response.headers["location"] == f"/login?next={scene.home}{path}"

    @pytest.mark.parametrize("path", FORMS)
    def test_anonymous_changes_nothing(self, enter: Enter, scene: Scene, path: str) -> None:
        response = enter(None).post(address(scene, path), data={"name": "Papaya", "status": "RETIRED"})
        assert response.headers["location"] == "/login?next=/projects"

    @pytest.mark.parametrize("path", MEMBER_PAGES)
    def test_project_of_others_is_not_there(self, enter: Enter, scene: Scene, path: str) -> None:
        response = enter().get(f"/projects/{scene.foreign_project_id}{path}")
        assert response.status_code == 404
        assert "Somebody else" not in response.text

    @pytest.mark.parametrize("path", ["/batches/{id}", "/batches/{id}/report", "/categories/{id}"])
    def test_thing_of_another_project_is_not_there(self, enter: Enter, scene: Scene, path: str) -> None:
        ids = {"batches": scene.batch_id, "categories": scene.category_id}
        foreign = path.format(id=ids[path.split("/")[1]])
        assert enter().get(f"/projects/{scene.empty_project_id}{foreign}").status_code == 404

    @pytest.mark.parametrize("path", FORMS)
    def test_viewer_changes_nothing(self, enter: Enter, scene: Scene, path: str) -> None:
        response = enter(Role.VIEWER).post(address(scene, path), data={"name": "Papaya", "status": "RETIRED"})
        assert response.status_code == 403
        assert "viewer" in response.text

    def test_form_of_another_site_is_refused(self, enter: Enter, scene: Scene) -> None:
        response = enter().post(
            f"{scene.home}/models/train", headers={"sec-fetch-site": "cross-site"}, data={}
        )
        assert response.status_code == 403

    @pytest.mark.parametrize(
        ("role", "links", "forms"),
        [
            (Role.OWNER, {"annotate", "batches/new"}, {"models/train"}),
            (Role.REVIEWER, {"annotate", "batches/new"}, set()),
            (Role.ANNOTATOR, {"annotate"}, set()),
            (Role.UPLOADER, {"batches/new"}, set()),
            (Role.VIEWER, set(), set()),
        ],
    )
    def test_role_sees_what_it_may_use(
        self, enter: Enter, scene: Scene, role: Role, links: set[str], forms: set[str]
    ) -> None:
        html = enter(role).get(scene.home).text + enter(role).get(f"{scene.home}/models").text
        for link in ("annotate", "batches/new"):
            assert (f'href="{scene.home}/{link}"' in html) is (link in links), link
        assert (f'action="{scene.home}/models/train"' in html) is bool(forms)

    def test_only_who_may_import_labels_is_offered_it(self, enter: Enter, scene: Scene) -> None:
        offered = 'value="labelled"'
        assert offered in enter(Role.OWNER).get(f"{scene.home}/batches/new").text
        assert offered not in enter(Role.UPLOADER).get(f"{scene.home}/batches/new").text


class TestSignIn:
    def test_leads_to_the_wanted_page(self, enter: Enter, scene: Scene) -> None:
        response = self.sign_in(enter(None), scene, wanted=f"{scene.home}/models")
        assert (response.status_code, response.headers["location"]) == (303, f"{scene.home}/models")
        assert enter.client.get("/account").status_code == 200

    @pytest.mark.parametrize(
        "wanted",
        ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//x"],
    )
    def test_never_leads_away(self, enter: Enter, scene: Scene, wanted: str) -> None:
        assert self.sign_in(enter(None), scene, wanted).headers["location"] == "/projects"

    def test_wrong_password_is_told_with_tries_left(self, enter: Enter) -> None:
        response = enter(None).post("/login", data={"email": "x@example.org", "password": "y"})
        assert response.status_code == 401
        assert "4 tries left" in response.text
        assert 'value="x@example.org"' in response.text

    def test_sign_out_ends_the_session(self, enter: Enter, scene: Scene) -> None:
        self.sign_in(enter(None), scene, "/projects")
        cookie = enter.client.cookies[SESSION_COOKIE]
        assert enter.client.post("/logout").headers["location"] == "/login"
        enter.client.cookies.set(SESSION_COOKIE, cookie)
        assert enter.client.get("/account").status_code == 303

    def sign_in(self, client: TestClient, scene: Scene, wanted: str):  # type: ignore[no-untyped-def]
        with session_scope(scene.settings.database_url) as session:
            email = session.scalars(select(User.email).where(User.name == "Ines Owner").limit(1)).one()
        return client.post("/login", data={"email": email, "password": PASSWORD, "next": wanted})


class InlineCode(HTMLParser):
    """Collects what a strict content security policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_code = tag == "script" and "src" not in given and given.get("type") != "application/json"
        if is_code or tag == "style" or any(name == "style" or name.startswith("on") for name in given):
            self.found.append(self.get_starttag_text() or tag)


class TestHostileText:
    def test_is_shown_and_never_runs(self, enter: Enter, scene: Scene) -> None:
        client = enter()
        for name, path in scene.pages.items():
            html = client.get(path).text
            assert HOSTILE not in html, name
            assert "<img src=x" not in html, name
        assert "&lt;img src=x onerror=alert(1)&gt;" in client.get("/projects").text

    def test_pages_carry_no_inline_code(self, enter: Enter, scene: Scene) -> None:
        client = enter()
        for name, path in scene.pages.items():
            code = InlineCode()
            code.feed(client.get(path).text)
            assert code.found == [], name

    def test_error_page_quotes_no_address_as_code(self, enter: Enter) -> None:
        html = enter().get("/projects/%3Cscript%3Ealert(1)%3C/script%3E").text
        assert "<script>alert" not in html


class TestForms:
    def test_new_project(self, enter: Enter, scene: Scene) -> None:
        response = enter().post("/projects/new", data={"name": " Reef  transects ", "strategy": "random"})
        assert response.status_code == 303
        with session_scope(scene.settings.database_url) as session:
            project = session.get_one(Project, uuid.UUID(response.headers["location"].split("/")[-1]))
            assert (project.name, project.strategy) == ("Reef transects", "random")

    @pytest.mark.parametrize("fields", [{"name": " "}, {"name": "Reef", "strategy": "psychic"}])
    def test_new_project_says_what_is_wrong_and_keeps_what_was_typed(
        self, enter: Enter, fields: dict[str, str]
    ) -> None:
        response = enter().post("/projects/new", data={**fields, "description": "Corals"})
        assert response.status_code == 422
        assert 'role="alert"' in response.text
        assert 'value="Corals"' in response.text

    def test_rename_keeps_the_old_name_as_alias(self, enter: Enter, scene: Scene) -> None:
        client, lime = enter(), self.category(scene, "Lime")
        page = f"{scene.home}/categories/{lime}"
        assert client.post(f"{page}/rename", data={"name": "Key lime"}).headers["location"] == page
        html = client.get(page).text
        assert "<h1>Key lime</h1>" in html
        assert "Renamed from “Lime” to “Key lime”" in html
        assert "Remove the alias Lime" in html

    def test_rename_to_a_name_in_use_is_refused_on_the_page(self, enter: Enter, scene: Scene) -> None:
        avocado = self.category(scene, "Avocado")
        response = enter().post(f"{scene.home}/categories/{avocado}/rename", data={"name": "mango"})
        assert response.status_code == 409
        assert "in use for Mango" in response.text
        assert 'value="mango"' in response.text

    def test_alias_is_added_and_removed(self, enter: Enter, scene: Scene) -> None:
        client, page = enter(), f"{scene.home}/categories/{scene.category_id}"
        client.post(f"{page}/aliases", data={"name": "Mangifera"})
        remove = re.search(rf'action="({page}/aliases/[^"]+/remove)"', client.get(page).text)
        assert remove is not None
        client.post(remove[1])
        assert "Remove the alias Mangifera" not in client.get(page).text

    def test_near_duplicate_category_is_asked_about_first(self, enter: Enter, scene: Scene) -> None:
        client, page = enter(), f"{scene.home}/categories"
        response = client.post(page, data={"name": "Avocardo"})
        assert response.status_code == 409
        assert "Did you mean Avocado?" in response.text
        different = re.findall(r'name="different_from" value="([^"]+)"', response.text)
        made = client.post(page, data={"name": "Avocardo", "different_from": different})
        assert made.status_code == 303
        assert "<h1>Avocardo</h1>" in client.get(made.headers["location"]).text

    def test_category_is_retired_and_taken_back(self, enter: Enter, scene: Scene) -> None:
        client, page = enter(), f"{scene.home}/categories/{scene.category_id}"
        for status in (CategoryStatus.RETIRED, CategoryStatus.ACTIVE):
            client.post(f"{page}/status", data={"status": status})
            with session_scope(scene.settings.database_url) as session:
                assert session.get_one(Category, scene.category_id).status is status

    def test_work_for_a_batch_is_asked_for_and_called_off(self, enter: Enter, scene: Scene) -> None:
        with session_scope(scene.settings.database_url) as session:
            batch = Batch(
                id=uuid.uuid4(), project_id=scene.project_id, name="Night trap", kind=BatchKind.UNLABELLED
            )
            session.add(batch)
        client, page = enter(), f"{scene.home}/batches/{batch.id}"
        assert client.post(f"{page}/resume").headers["location"] == page
        assert f'action="{page}/cancel"' in client.get(page).text
        assert client.post(f"{page}/cancel").headers["location"] == page
        assert f'action="{page}/cancel"' not in client.get(page).text

    def test_training_is_asked_for_once(self, enter: Enter, scene: Scene) -> None:
        client, page = enter(), f"{scene.home}/models"
        assert client.post(f"{page}/train").headers["location"] == page
        again = client.post(f"{page}/train")
        assert again.status_code == 409
        assert "is being trained" in again.text
        cancel = re.search(rf'action="({page}/[^"]+/cancel)"', client.get(page).text)
        assert cancel is not None
        client.post(cancel[1])
        assert "Cancelled" in client.get(page).text

    def test_roll_back(self, enter: Enter, scene: Scene) -> None:
        client, page = enter(), f"{scene.home}/models"
        with session_scope(scene.settings.database_url) as session:
            former = session.scalars(
                select(ModelVersion.id).where(
                    ModelVersion.project_id == scene.project_id, ModelVersion.number == 1
                )
            ).one()
        assert "Roll back to v1" in client.get(page).text
        for version in (former, scene.version_id):
            client.post(f"{page}/{version}/activate")
            with session_scope(scene.settings.database_url) as session:
                assert session.get_one(Project, scene.project_id).active_version_id == version

    def test_token_is_shown_once_and_works(self, enter: Enter) -> None:
        client = enter()
        token = re.search(r"nf_[\w-]+", client.post("/account/tokens", data={"name": "camera"}).text)
        assert token is not None
        assert token[0] not in client.get("/account").text
        client.cookies.clear()
        answer = client.get("/api/v1/me", headers={"authorization": f"Bearer {token[0]}"})
        assert answer.json()["name"] == "Ines Owner"

    def test_wrong_present_password_changes_nothing(self, enter: Enter) -> None:
        response = enter().post("/account/password", data={"current": "no", "new": "a new password"})
        assert response.status_code == 403
        assert "current password is not right" in response.text
        assert enter().get("/account").status_code == 200

    def category(self, scene: Scene, name: str) -> uuid.UUID:
        with session_scope(scene.settings.database_url) as session:
            return session.scalars(
                select(Category.id).where(Category.project_id == scene.project_id, Category.name == name)
            ).one()


class TestPages:
    def test_running_work_is_shown_with_its_progress(self, enter: Enter, scene: Scene) -> None:
        html = enter().get(scene.home).text
        assert "Scoring Store 14, week 47" in html
        with session_scope(scene.settings.database_url) as session:
            assert session.scalars(select(Job).where(Job.project_id == scene.project_id)).all()

    def test_batch_is_filtered_by_flag_and_category(self, enter: Enter, scene: Scene) -> None:
        page = f"{scene.home}/batches/{scene.batch_id}"
        client = enter()
        everything = client.get(page).text.count('class="tile"')
        flags = [
            client.get(f"{page}?flag={flag}").text.count('class="tile"')
            for flag in ("known", "uncertain", "new")
        ]
        assert sum(flags) == everything == 25
        assert "No image matches" in client.get(f"{page}?category={scene.category_id}").text
        assert client.get(f"{page}?flag=bogus").status_code == 422

    def test_report_names_the_file_and_the_mend(self, enter: Enter, scene: Scene) -> None:
        html = enter().get(f"{scene.home}/batches/{scene.batch_id}/report?outcome=REFUSED").text
        assert "broken.png" in html
        assert html.count("<tr>") == 2  # the head and one file

    def test_search_finds_categories_by_part_of_a_name(self, enter: Enter, scene: Scene) -> None:
        html = enter().get(f"{scene.home}/categories?q=PEAR").text
        assert "Conference pear" in html
        assert ">Mango<" not in html

    def test_static_files_are_kept_for_good_and_pages_not_at_all(self, enter: Enter, scene: Scene) -> None:
        client = enter()
        page = client.get("/projects")
        assert page.headers["cache-control"] == "no-store"
        for url in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
            assert "immutable" in client.get(url).headers["cache-control"], url

    def test_unexpected_error_shows_a_number_to_quote(
        self, enter: Enter, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("boom")

        monkeypatch.setattr(accounts, "list_api_tokens", fail)
        response = enter().get("/account")
        assert response.status_code == 500
        assert re.search(r"[0-9A-F]{4}-[0-9A-F]{4}", response.text)
        assert "boom" not in response.text

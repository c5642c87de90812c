"""Categories over HTTP: lists with figures, renaming, aliases, confirming and retiring."""

from datetime import timedelta

import pytest
from people import add_person, make_team
from pool import Pool
from sqlalchemy import event, select

from server import jobs
from server.categories import service as categories
from server.categories.queries import Order
from server.categories.service import bin_of
from server.database import engine_for, session_scope
from server.permissions import Role
from server.tables import Annotation, AuditEntry, CategoryStatus, ClassMemoryRow, LabelSource, Verdict
from server.tables.base import utc_now

X, Y = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


@pytest.fixture
def team(client, settings):
    return make_team(client, settings)


@pytest.fixture
def pool(session):
    pool = Pool(session)
    pool.activate_version()
    return pool


@pytest.fixture
def plum(team):
    return create(team, "Plum").json()


def create(team, name, role=Role.OWNER, **fields):
    return team.client.post(
        f"{team.url}/categories", json={"name": name, **fields}, headers=team.members[role].headers
    )


def change(team, category, role=Role.OWNER, **fields):
    return team.client.patch(
        f"{team.url}/categories/{category['id']}", json=fields, headers=team.members[role].headers
    )


def check(team, name):
    return team.client.post(
        f"{team.url}/categories/check", json={"name": name}, headers=team.owner.headers
    ).json()


def listed(team, query=""):
    return team.client.get(f"{team.url}/categories{query}", headers=team.owner.headers).json()


def label(pool, category, minutes_ago=0):
    """An image that carries the category, with the judgement behind it."""
    image = pool.image()
    at = utc_now() - timedelta(minutes=minutes_ago)
    image.category_id, image.verdict, image.labelled_at = category.id, Verdict.NEW, at
    pool.session.add(
        Annotation(
            project_id=pool.project.id,
            image_id=image.id,
            source=LabelSource.HUMAN,
            verdict=Verdict.NEW,
            category_id=category.id,
            created_at=at,
        )
    )
    pool.session.flush()
    return image


class TestCreate:
    def test_a_new_one(self, team):
        answer = create(team, "  Oat\u00a0milk ", Role.ANNOTATOR)
        assert answer.status_code == 201
        body = answer.json()
        assert (body["name"], body["status"], body["count"], body["bin"]) == (
            "Oat milk",
            "PROPOSED",
            0,
            "few",
        )
        assert (body["aliases"], body["exemplar_url"], body["live_seconds"]) == ([], None, None)

    def test_a_near_name_is_asked_about_and_made_once_told_apart(self, team, plum):
        asked = create(team, "Plums", Role.ANNOTATOR)
        assert (asked.status_code, asked.json()["error"]["code"]) == (409, "name-check")
        details = asked.json()["error"]["details"]
        assert (details["verdict"], details["typed"]) == ("same", "Plums")
        assert details["candidates"][0]["marks"] == {"typed": [[4, 5]], "other": []}
        told = create(team, "Plums", Role.ANNOTATOR, different_from=[plum["id"]])
        assert told.status_code == 201

    def test_the_very_same_name_is_never_made_twice(self, team, plum):
        again = create(team, "PLUM", different_from=[plum["id"]])
        assert (again.status_code, again.json()["error"]["details"]["is_exact"]) == (409, True)

    @pytest.mark.parametrize("name", ["", " \u200b", "a\x00b", "x" * 101, None, 7])
    def test_what_is_no_name(self, team, name):
        assert create(team, name).status_code == 422

    @pytest.mark.parametrize("name", ["<script>alert(1)</script>", "'; DROP TABLE users --", "../x", "{{7}}"])
    def test_hostile_names_are_names(self, team, name):
        assert create(team, name).json()["name"] == name


class TestCheck:
    def test_says_what_a_name_would_be_and_stores_nothing(self, team, plum):
        assert check(team, "Pear")["verdict"] == "new"
        assert check(team, "plum")["verdict"] == "same"
        assert listed(team)["total"] == 1


class TestRename:
    def test_the_old_name_still_leads_there(self, team, plum):
        renamed = change(team, plum, name="Damson").json()
        assert (renamed["id"], renamed["name"]) == (plum["id"], "Damson")
        assert [alias["name"] for alias in renamed["aliases"]] == ["Plum"]
        assert check(team, "plum")["candidates"][0]["category_id"] == plum["id"]

    def test_can_be_undone_by_renaming_back(self, team, plum):
        change(team, plum, name="Damson")
        back = change(team, plum, name="Plum").json()
        assert (back["name"], [alias["name"] for alias in back["aliases"]]) == ("Plum", ["Damson"])

    def test_is_audited(self, team, plum, settings):
        change(team, plum, name="Damson")
        with session_scope(settings.database_url) as session:
            entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "category.renamed")).all()[
                -1
            ]
        assert (str(entry.subject_id), entry.user_id) == (plum["id"], team.owner.id)
        assert entry.details == {"before": "Plum", "after": "Damson"}

    def test_another_spelling_of_the_name_makes_no_alias(self, team, plum):
        renamed = change(team, plum, name="PLUM").json()
        assert (renamed["name"], renamed["aliases"]) == ("PLUM", [])

    def test_a_name_in_use_is_refused_with_whose_it_is(self, team, plum):
        create(team, "Mango")
        answer = change(team, plum, name=" mango")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "name-taken")
        assert "in use for Mango" in answer.json()["error"]["message"]

    def test_a_hundred_labels_follow(self, pool):
        user = pool.person(Role.OWNER).user
        plum = pool.category("Plum")
        for _ in range(100):
            label(pool, plum)
        categories.rename(pool.session, user, plum, "Damson")
        (line,) = categories.list_categories(pool.session, pool.project).items
        assert (line.category.name, line.count, line.bin) == ("Damson", 100, "many")


class TestAliases:
    def test_come_and_go(self, team, plum):
        url = f"{team.url}/categories"
        added = team.client.post(
            f"{url}/{plum['id']}/aliases", json={"name": "Zwetschge"}, headers=team.owner.headers
        )
        assert (added.status_code, added.json()["kind"]) == (201, "ALIAS")
        assert check(team, "zwetschge")["candidates"][0]["alias_matched"] == "Zwetschge"
        gone = team.client.delete(f"{url}/aliases/{added.json()['id']}", headers=team.owner.headers)
        assert gone.status_code == 204
        assert check(team, "zwetschge")["verdict"] == "new"
        again = team.client.delete(f"{url}/aliases/{added.json()['id']}", headers=team.owner.headers)
        assert again.status_code == 404

    @pytest.mark.parametrize("name", ["plum", "mango", "MANGO fruit"])
    def test_a_name_in_use_is_refused(self, team, plum, name):
        mango = create(team, "Mango").json()
        url = f"{team.url}/categories/{{}}/aliases"
        team.client.post(url.format(mango["id"]), json={"name": "Mango fruit"}, headers=team.owner.headers)
        answer = team.client.post(url.format(plum["id"]), json={"name": name}, headers=team.owner.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "name-taken")

    def test_a_misspelling_is_remembered_without_harm_to_names_in_use(self, pool):
        user = pool.person(Role.ANNOTATOR).user
        plum, mango = pool.category("Plum"), pool.category("Mango")
        for typed in ("plmu", "plmu", "mango", "plum"):
            categories.remember_misspelling(pool.session, pool.project, user, plum, typed)
        found = [categories.find_by_name(pool.session, pool.project.id, name) for name in ("PLMU", "mango")]
        assert found == [plum, mango]
        assert len(categories.summarise(pool.session, pool.project, plum).aliases) == 1


class TestStatus:
    def test_a_reviewer_confirms(self, team):
        made = create(team, "Leek", Role.ANNOTATOR).json()
        assert change(team, made, Role.ANNOTATOR, status="ACTIVE").status_code == 403
        assert change(team, made, Role.REVIEWER, status="ACTIVE").json()["status"] == "ACTIVE"

    def test_it_cannot_go_back_to_a_proposal(self, team, plum):
        assert change(team, plum, status="PROPOSED").status_code == 422

    def test_a_retired_one_gives_its_name_free_and_can_come_back_while_it_is(self, team, plum):
        assert change(team, plum, status="RETIRED").json()["status"] == "RETIRED"
        assert check(team, "plum")["verdict"] == "new"
        assert change(team, plum, status="ACTIVE").json()["status"] == "ACTIVE"
        change(team, plum, status="RETIRED")
        assert create(team, "Plum").status_code == 201
        back = change(team, plum, status="ACTIVE")
        assert (back.status_code, back.json()["error"]["code"]) == (409, "name-taken")

    def test_the_memory_forgets_a_retired_one(self, pool):
        user, plum = pool.person(Role.OWNER).user, pool.category("Plum")
        categories.set_status(pool.session, user, plum, CategoryStatus.RETIRED)
        asked = (jobs.UPDATE_MEMORY, (str(pool.project.id), str(plum.id)))
        assert asked in pool.session.info["jobs"]

    def test_confirming_leaves_the_memory_alone(self, pool):
        user = pool.person(Role.OWNER).user
        leek = pool.category("Leek", status=CategoryStatus.PROPOSED)
        categories.set_status(pool.session, user, leek, CategoryStatus.ACTIVE)
        assert "jobs" not in pool.session.info


class TestList:
    def test_searches_names_and_other_names_in_any_spelling(self, team, plum):
        create(team, "Mango")
        url = f"{team.url}/categories/{plum['id']}/aliases"
        team.client.post(url, json={"name": "Zwetschge"}, headers=team.owner.headers)
        for query in ("plu", "PLU", "wetsch"):
            assert [line["name"] for line in listed(team, f"?q={query}")["items"]] == ["Plum"]
        assert listed(team, "?q=%25")["items"] == []
        assert listed(team, "?q=_")["items"] == []

    def test_filters_by_status_and_pages(self, team):
        for name in ("Apple", "Blueberry", "Cherry"):
            create(team, name)
        create(team, "Dragonfruit", Role.ANNOTATOR)
        proposed = listed(team, "?status=PROPOSED")
        assert ([line["name"] for line in proposed["items"]], proposed["total"]) == (["Dragonfruit"], 1)
        page = listed(team, "?order=name&limit=2&offset=1")
        assert ([line["name"] for line in page["items"]], page["total"]) == (["Blueberry", "Cherry"], 4)

    @pytest.mark.parametrize("query", ["?limit=0", "?limit=501", "?offset=-1", "?status=LOST", "?order=id;"])
    def test_refuses_what_it_cannot_do(self, team, query):
        answer = team.client.get(f"{team.url}/categories{query}", headers=team.owner.headers)
        assert answer.status_code == 422

    def test_figures(self, pool):
        plum = pool.category("Plum", X, live_at=utc_now())
        mango = pool.category("Mango", Y)
        for minutes in (3, 2, 1):
            label(pool, plum, minutes)
        for _ in range(2):
            pool.task(pool.image(at=X, category=plum))
        pool.image(at=X, category=plum)
        first, second = categories.list_categories(pool.session, pool.project).items
        assert (first.category, first.count, first.waiting) == (plum, 3, 2)
        assert first.live_seconds == pytest.approx(180, abs=5)
        assert first.exemplar_id is not None
        assert (second.category, second.count, second.waiting) == (mango, 0, 0)
        assert (second.live_seconds, second.exemplar_id) == (None, None)

    def test_the_exemplar_is_the_most_typical_image(self, pool):
        plum = pool.category("Plum", X)
        typical = label(pool, plum, 9)
        label(pool, plum, 1)
        pool.session.get_one(ClassMemoryRow, (pool.version.id, plum.id)).exemplar_image_id = typical.id
        pool.session.flush()
        assert categories.summarise(pool.session, pool.project, plum).exemplar_id == typical.id

    def test_newest_first(self, pool):
        now = utc_now()
        old = pool.category("Old", created_at=now - timedelta(days=2))
        new = pool.category("New", created_at=now)
        items = categories.list_categories(pool.session, pool.project, order=Order.NEWEST).items
        assert [line.category for line in items] == [new, old]

    def test_many_lines_take_no_more_statements(self, pool, settings):
        def count_statements():
            statements = []

            def note(*args):
                statements.append(args[2])

            engine = engine_for(settings.database_url)
            event.listen(engine, "before_cursor_execute", note)
            categories.list_categories(pool.session, pool.project)
            event.remove(engine, "before_cursor_execute", note)
            return len(statements)

        label(pool, pool.category("Plum", X))
        few = count_statements()
        for number in range(20):
            label(pool, pool.category(f"Kind {number}", Y))
        assert count_statements() == few

    @pytest.mark.parametrize(
        ("count", "name"), [(0, "few"), (20, "few"), (21, "medium"), (99, "medium"), (100, "many")]
    )
    def test_bins_of_the_long_tail(self, count, name):
        assert bin_of(count) == name


class TestFoundSince:
    def test_lists_what_people_have_named_lately(self, pool):
        fresh, old, imported = (pool.category(name) for name in ("Fresh", "Old", "Imported"))
        label(pool, fresh, minutes_ago=5)
        label(pool, old, minutes_ago=60 * 24 * 9)
        pool.image().category_id = imported.id
        found = categories.list_found_since(pool.session, pool.project, days=7)
        assert [line.category for line in found] == [fresh]


class TestScope:
    def test_another_projects_category_is_not_found(self, team, plum, client, settings):
        other = make_team(client, settings)
        foreign = {"id": plum["id"]}
        assert change(other, foreign, name="Mine").status_code == 404
        url = f"{other.url}/categories/{plum['id']}"
        assert client.get(url, headers=other.owner.headers).status_code == 404
        added = client.post(f"{url}/aliases", json={"name": "x"}, headers=other.owner.headers)
        assert added.status_code == 404

    def test_a_stranger_sees_nothing(self, team, client, settings):
        stranger = add_person(settings)
        assert client.get(f"{team.url}/categories", headers=stranger.headers).status_code == 404

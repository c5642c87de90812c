"""Projects and their members over HTTP."""

import threading
from uuid import uuid4

import pytest
from people import add_member, add_person, add_project, make_team
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from server import jobs
from server.database import session_scope
from server.errors import Conflict
from server.permissions import Role
from server.projects import service as projects
from server.projects.strategies import Gate, Strategy
from server.tables import AuditEntry, Membership, Project, User

URL = "/api/v1/projects"


@pytest.fixture
def team(client, settings):
    return make_team(client, settings)


class TestCreate:
    def test_its_maker_owns_it(self, client, settings):
        person = add_person(settings)
        made = client.post(URL, json={"name": "  Alpine  traps "}, headers=person.headers)
        assert made.status_code == 201
        assert made.json()["name"] == "Alpine traps"
        assert "project:change" in made.json()["permissions"]
        (line,) = client.get(URL, headers=person.headers).json()
        assert (line["id"], line["role"]) == (made.json()["id"], "OWNER")

    def test_starts_with_the_settings_of_the_method(self, client, settings):
        body = client.post(URL, json={"name": "x"}, headers=add_person(settings).headers).json()
        assert (body["strategy"], body["gate"], body["temperature"]) == ("frontier", "free_energy", 0.02)
        assert (body["round_size"], body["control_share"], body["hold_seconds"]) == (64, 0.05, 300)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", " \u00a0 "),
            ("name", "a\x00b"),
            ("name", "x" * 201),
            ("strategy", "psychic"),
            ("gate", "entropy"),
            ("round_size", 0),
            ("control_share", 1.5),
            ("temperature", 0),
            ("temperature", "NaN"),
            ("hold_seconds", 9),
        ],
    )
    def test_a_field_at_fault_is_named(self, client, settings, field, value):
        body = {"name": "x"} | {field: value}
        answer = client.post(URL, json=body, headers=add_person(settings).headers)
        assert answer.status_code == 422
        assert field in answer.json()["error"]["message"].lower()

    def test_choices_are_those_of_the_network_library(self):
        from model.exploration import STRATEGIES
        from model.exploration.base import Pool

        assert {strategy.value for strategy in Strategy} == set(STRATEGIES)
        assert {gate.value for gate in Gate} <= set(Pool.__dataclass_fields__)

    @pytest.mark.parametrize(("field", "choices"), [("strategy", Strategy), ("gate", Gate)])
    def test_the_database_takes_no_others(self, session, field, choices):
        session.add_all(Project(name="Moths", **{field: choice.value}) for choice in choices)
        session.flush()
        session.add(Project(name="Moths", **{field: "psychic"}))
        with pytest.raises(IntegrityError):
            session.flush()


class TestList:
    def test_shows_ones_own_only(self, client, team, settings):
        stranger = add_person(settings)
        assert client.get(URL, headers=stranger.headers).json() == []
        for person in team.members.values():
            assert [line["id"] for line in client.get(URL, headers=person.headers).json()] == [
                str(team.project_id)
            ]

    def test_an_admin_sees_all_as_owner(self, client, team, settings):
        admin = add_person(settings, is_admin=True)
        lines = client.get(f"{URL}?limit=200", headers=admin.headers).json()
        assert {line["role"] for line in lines} == {"OWNER"}
        assert str(team.project_id) in [line["id"] for line in lines]


class TestChange:
    def test_is_audited_with_before_and_after(self, client, team, settings):
        answer = client.patch(team.url, json={"name": "Owls", "gate": "openness"}, headers=team.owner.headers)
        assert (answer.json()["name"], answer.json()["gate"]) == ("Owls", "openness")
        with session_scope(settings.database_url) as session:
            entry = session.scalars(
                select(AuditEntry).where(
                    AuditEntry.project_id == team.project_id, AuditEntry.action == "project.changed"
                )
            ).one()
        assert entry.user_id == team.owner.id
        assert entry.details["before"] == {"name": "Moths", "gate": "free_energy"}
        assert entry.details["after"] == {"name": "Owls", "gate": "openness"}

    def test_what_is_left_out_or_null_stays(self, client, team):
        client.patch(team.url, json={"description": "at night"}, headers=team.owner.headers)
        answer = client.patch(team.url, json={"name": None}, headers=team.owner.headers)
        assert (answer.json()["name"], answer.json()["description"]) == ("Moths", "at night")

    @pytest.mark.parametrize(("change", "is_sent"), [({"gate": "openness"}, True), ({"name": "Owls"}, False)])
    def test_new_rules_of_the_queue_order_it_anew(self, session, change, is_sent):
        user = User(email="q@example.org", name="Q", password_hash="")
        session.add(user)
        session.flush()
        project = projects.create(session, user, "Moths")
        projects.update(session, user, project, change)
        asked = session.info.get("jobs", {})
        assert ((jobs.RESCORE, (str(project.id),)) in asked) is is_sent


class TestMembers:
    def test_are_listed_by_name(self, client, team):
        members = client.get(f"{team.url}/members", headers=team.members[Role.VIEWER].headers).json()
        assert [member["role"] for member in members] == sorted(role.value for role in Role)

    def test_an_owner_takes_people_in_and_gives_them_other_parts(self, client, team, settings):
        person = add_person(settings)
        for role in ("VIEWER", "REVIEWER", "OWNER"):
            answer = client.put(
                f"{team.url}/members",
                json={"email": person.email.upper(), "role": role},
                headers=team.owner.headers,
            )
            assert (answer.status_code, answer.json()["role"]) == (200, role)
        assert client.patch(team.url, json={"name": "Ours"}, headers=person.headers).status_code == 200

    def test_nobody_without_an_account(self, client, team):
        answer = client.put(
            f"{team.url}/members",
            json={"email": "x@example.org", "role": "VIEWER"},
            headers=team.owner.headers,
        )
        assert answer.status_code == 404
        assert "no account for x@example.org" in answer.json()["error"]["message"]

    def test_a_role_that_does_not_exist(self, client, team):
        body = {"email": team.members[Role.VIEWER].email, "role": "KING"}
        assert client.put(f"{team.url}/members", json=body, headers=team.owner.headers).status_code == 422

    def test_nobody_changes_their_own_role(self, client, team, settings):
        add_member(settings, team.project_id, second := add_person(settings), Role.OWNER)
        body = {"email": second.email, "role": "VIEWER"}
        assert client.put(f"{team.url}/members", json=body, headers=second.headers).status_code == 403

    def test_the_last_owner_stays(self, client, team):
        answer = client.delete(f"{team.url}/members/{team.owner.id}", headers=team.owner.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last-owner")

    def test_an_admin_cannot_demote_the_last_owner_either(self, client, team, settings):
        admin = add_person(settings, is_admin=True)
        body = {"email": team.owner.email, "role": "VIEWER"}
        answer = client.put(f"{team.url}/members", json=body, headers=admin.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last-owner")

    def test_who_was_taken_out_sees_nothing_any_more(self, client, team):
        viewer = team.members[Role.VIEWER]
        url = f"{team.url}/members/{viewer.id}"
        assert client.delete(url, headers=team.owner.headers).status_code == 204
        assert client.get(team.url, headers=viewer.headers).status_code == 404
        assert client.delete(url, headers=team.owner.headers).status_code == 404

    def test_two_owners_cannot_remove_each_other_at_once(self, team, settings):
        add_member(settings, team.project_id, second := add_person(settings), Role.OWNER)
        start = threading.Barrier(2)
        refused = []

        def remove(by, whom):
            with session_scope(settings.database_url) as session:
                user, project = session.get_one(User, by), session.get_one(Project, team.project_id)
                start.wait()
                try:
                    projects.remove_member(session, user, project, whom)
                except Conflict as error:
                    refused.append(error)

        pairs = [(team.owner.id, second.id), (second.id, team.owner.id)]
        threads = [threading.Thread(target=remove, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        with session_scope(settings.database_url) as session:
            owners = select(Membership).where(
                Membership.project_id == team.project_id, Membership.role == Role.OWNER
            )
            assert len(session.scalars(owners).all()) == 1


class TestVisibility:
    def test_a_foreign_project_looks_like_none(self, client, team, settings):
        stranger = add_person(settings)
        foreign = client.get(team.url, headers=stranger.headers)
        missing = client.get(f"{URL}/{uuid4()}", headers=stranger.headers)
        assert (foreign.status_code, foreign.json()) == (missing.status_code, missing.json())
        assert foreign.status_code == 404

    def test_figures_do_not_leak_between_projects(self, client, team, settings):
        other = add_project(settings, team.owner, "Other")
        ids = {line["id"] for line in client.get(URL, headers=team.members[Role.VIEWER].headers).json()}
        assert str(other) not in ids

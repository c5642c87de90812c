"""Accounts, passwords and API tokens."""

import pytest
from people import PASSWORD, add_person
from sqlalchemy import select

from server.accounts import secrets
from server.accounts import service as accounts
from server.database import session_scope
from server.errors import Conflict, InvalidInput, NotFound
from server.tables import ApiToken, User


@pytest.fixture
def person(settings):
    return add_person(settings)


@pytest.fixture
def admin(settings):
    return add_person(settings, "Root", is_admin=True)


class TestCreateUser:
    def test_the_password_is_kept_as_argon2id(self, session):
        user = accounts.create_user(session, "a@example.org", "A", PASSWORD)
        assert user.password_hash.startswith("$argon2id$")
        assert PASSWORD not in user.password_hash

    def test_an_address_is_taken_in_any_case(self, session):
        accounts.create_user(session, "b@example.org", "B", PASSWORD)
        with pytest.raises(Conflict, match="There is an account for B@"):
            accounts.create_user(session, "B@Example.org", "B", PASSWORD)

    @pytest.mark.parametrize(
        "email", ["", "nobody", "a b@example.org", "@example.org", "a@", "a@b@c", "a\x00@b"]
    )
    def test_what_is_no_address(self, session, email):
        with pytest.raises(InvalidInput, match="Email"):
            accounts.create_user(session, email, "A", PASSWORD)

    @pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\x00b", "a\u202eb"])
    def test_what_is_no_name(self, session, name):
        with pytest.raises(InvalidInput, match="Name"):
            accounts.create_user(session, "c@example.org", name, PASSWORD)

    @pytest.mark.parametrize("password", ["", "short", "x" * 201])
    def test_what_is_no_password(self, session, password):
        with pytest.raises(InvalidInput, match="10 to 200 characters"):
            accounts.create_user(session, "d@example.org", "D", password)


class TestFirstAdmin:
    def test_is_made_once_with_a_random_password(self, fresh_database_url):
        with session_scope(fresh_database_url) as session:
            email, password = accounts.ensure_first_admin(session)
            user = session.scalars(select(User)).one()
            assert (user.email, user.is_admin) == (email, True)
            assert secrets.is_password(password, user.password_hash)
            assert len(password) >= 20
        with session_scope(fresh_database_url) as session:
            assert accounts.ensure_first_admin(session) is None


class TestPasswords:
    def test_nobody_has_no_password(self):
        assert not secrets.is_password("anything", None)

    def test_a_damaged_hash_lets_nobody_in(self):
        assert not secrets.is_password("anything", "not a hash")

    def test_changing_it_ends_the_browsers(self, client, person):
        login = {"email": person.email, "password": PASSWORD}
        assert client.post("/api/v1/sessions", json=login).status_code == 204
        change = {"current": PASSWORD, "new": "another long one"}
        assert client.put("/api/v1/me/password", json=change).status_code == 204
        assert client.get("/api/v1/me").status_code == 401
        assert (
            client.post("/api/v1/sessions", json=login | {"password": "another long one"}).status_code == 204
        )

    def test_changing_it_needs_the_current_one(self, client, person):
        change = {"current": "wrong", "new": "another long one"}
        answer = client.put("/api/v1/me/password", json=change, headers=person.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong-password")

    def test_an_operator_can_reset_it(self, session):
        user = accounts.create_user(session, "e@example.org", "E", PASSWORD)
        password = accounts.reset_password(session, "E@example.org")
        assert secrets.is_password(password, user.password_hash)
        with pytest.raises(NotFound):
            accounts.reset_password(session, "nobody@example.org")


class TestMe:
    def test_anonymous(self, client):
        answer = client.get("/api/v1/me")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not-authenticated")

    def test_shows_no_secrets(self, client, person):
        body = client.get("/api/v1/me", headers=person.headers).json()
        assert body == {"id": str(person.id), "email": person.email, "name": "Ada", "is_admin": False}


class TestTokens:
    def test_anonymous(self, client):
        assert client.get("/api/v1/tokens").status_code == 401
        assert client.post("/api/v1/tokens", json={"name": "x"}).status_code == 401

    def test_is_shown_once_and_works_as_bearer(self, client, person):
        made = client.post("/api/v1/tokens", json={"name": "nightly"}, headers=person.headers)
        assert made.status_code == 201
        token = made.json()["token"]
        assert token.startswith("nf_")
        bearer = {"Authorization": f"bearer {token}"}
        listed = client.get("/api/v1/tokens", headers=bearer).json()
        assert [row["name"] for row in listed] == ["nightly", "tests"]
        assert token not in str(listed)

    def test_only_a_hash_is_kept(self, client, person, settings):
        with session_scope(settings.database_url) as session:
            row = session.scalars(select(ApiToken).where(ApiToken.user_id == person.id)).one()
        assert row.token_hash == secrets.hash_token(person.token)

    def test_its_last_use_is_noted(self, client, person):
        client.get("/api/v1/me", headers=person.headers)
        (row,) = client.get("/api/v1/tokens", headers=person.headers).json()
        assert row["last_used_at"] is not None

    def test_a_row_that_somebody_holds_does_not_hold_up_its_use(self, client, person, settings):
        with session_scope(settings.database_url) as session:
            session.scalars(select(ApiToken).where(ApiToken.user_id == person.id).with_for_update()).one()
            assert client.get("/api/v1/me", headers=person.headers).status_code == 200

    def test_revoked_it_is_worth_nothing(self, client, person):
        made = client.post("/api/v1/tokens", json={"name": "lost"}, headers=person.headers).json()
        url = f"/api/v1/tokens/{made['id']}"
        assert client.delete(url, headers=person.headers).status_code == 204
        assert (
            client.get("/api/v1/me", headers={"authorization": f"Bearer {made['token']}"}).status_code == 401
        )
        assert client.delete(url, headers=person.headers).status_code == 404

    def test_nobody_revokes_another_persons_token(self, client, person, settings):
        made = client.post("/api/v1/tokens", json={"name": "mine"}, headers=person.headers).json()
        stranger = add_person(settings)
        assert client.delete(f"/api/v1/tokens/{made['id']}", headers=stranger.headers).status_code == 404

    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer nf_wrong", "Basic eDp5", "nf_x"])
    def test_what_is_no_token(self, client, header):
        assert client.get("/api/v1/me", headers={"authorization": header}).status_code == 401


NEW = {"email": "new@example.org", "name": "New", "password": PASSWORD}


class TestUsers:
    def test_anonymous(self, client):
        assert client.get("/api/v1/users").status_code == 401
        assert client.post("/api/v1/users", json=NEW).status_code == 401

    def test_there_is_no_sign_up_and_no_list_for_others(self, client, person):
        assert client.get("/api/v1/users", headers=person.headers).status_code == 403
        assert client.post("/api/v1/users", json=NEW, headers=person.headers).status_code == 403

    def test_an_admin_makes_accounts(self, client, admin):
        made = client.post("/api/v1/users", json=NEW, headers=admin.headers)
        assert made.status_code == 201
        assert made.json().keys() == {"id", "email", "name", "is_admin"}
        listed = client.get("/api/v1/users", headers=admin.headers).json()
        assert "new@example.org" in [user["email"] for user in listed]
        again = client.post("/api/v1/users", json=NEW, headers=admin.headers)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "email-taken")

    def test_an_admin_closes_an_account_at_once(self, client, admin, person):
        login = {"email": person.email, "password": PASSWORD}
        assert client.post("/api/v1/sessions", json=login).status_code == 204
        url = f"/api/v1/users/{person.id}"
        assert client.delete(url, headers=admin.headers).status_code == 204
        assert client.get("/api/v1/me").status_code == 401
        assert client.get("/api/v1/me", headers=person.headers).status_code == 401
        assert client.post("/api/v1/sessions", json=login).status_code == 401
        assert client.delete(url, headers=admin.headers).status_code == 404

    def test_nobody_closes_their_own_or_without_being_admin(self, client, admin, person):
        assert client.delete(f"/api/v1/users/{admin.id}", headers=admin.headers).status_code == 403
        assert client.delete(f"/api/v1/users/{admin.id}", headers=person.headers).status_code == 403

    def test_a_page_has_a_limit(self, client, admin):
        assert client.get("/api/v1/users?limit=501", headers=admin.headers).status_code == 422

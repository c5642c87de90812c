"""Logging in and out, and what slows down guessing."""

import threading
from datetime import timedelta

import pytest
from people import PASSWORD, add_person
from sqlalchemy import func, select

from server.accounts import service as accounts
from server.database import session_scope
from server.deps import SESSION_COOKIE
from server.errors import NotAuthenticated, TooManyRequests
from server.tables import BrowserSession, LoginAttempt, User
from server.tables.base import utc_now

URL = "/api/v1/sessions"


@pytest.fixture
def person(settings):
    return add_person(settings)


def log_in(client, email, password=PASSWORD):
    return client.post(URL, json={"email": email, "password": password})


class TestLogIn:
    def test_the_cookie_logs_the_browser_in(self, client, person):
        answer = log_in(client, person.email)
        assert answer.status_code == 204
        assert client.get("/api/v1/me").json()["email"] == person.email

    def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(self, client, person):
        cookie = log_in(client, person.email).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert f"max-age={14 * 24 * 3600}" in cookie

    def test_only_a_hash_of_the_token_is_kept(self, client, person, settings):
        log_in(client, person.email)
        with session_scope(settings.database_url) as session:
            kept = session.scalars(
                select(BrowserSession.token_hash).where(BrowserSession.user_id == person.id)
            ).one()
        assert client.cookies[SESSION_COOKIE] != kept
        assert len(client.cookies[SESSION_COOKIE]) >= 43

    def test_the_address_counts_in_any_case(self, client, person):
        assert log_in(client, f"  {person.email.upper()} ").status_code == 204

    def test_a_wrong_password_says_how_many_tries_are_left(self, client, person):
        error = log_in(client, person.email, "wrong").json()["error"]
        assert error["code"] == "wrong-login"
        assert error["details"]["tries_left"] == 4
        assert "4 tries left before a wait of 15 minutes" in error["message"]

    def test_an_unknown_address_is_answered_like_a_wrong_password(self, client, person):
        known, unknown = log_in(client, person.email, "wrong"), log_in(client, "no@example.org", "wrong")
        assert (unknown.status_code, unknown.json()) == (known.status_code, known.json())

    def test_a_disabled_person_stays_out(self, client, person, settings):
        with session_scope(settings.database_url) as session:
            session.get_one(User, person.id).disabled_at = utc_now()
        assert log_in(client, person.email).status_code == 401
        assert client.get("/api/v1/me", headers=person.headers).status_code == 401

    def test_success_forgets_the_failures(self, client, person):
        for _ in range(3):
            log_in(client, person.email, "wrong")
        assert log_in(client, person.email).status_code == 204
        assert log_in(client, person.email, "wrong").json()["error"]["details"]["tries_left"] == 4


class TestTooManyTries:
    def test_after_five_failures_even_the_right_password_waits(self, client, person):
        for _ in range(5):
            assert log_in(client, person.email, "wrong").status_code == 401
        answer = log_in(client, person.email)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 15 * 60 + 1
        assert "Try again in 15 minutes" in answer.json()["error"]["message"]

    def test_other_people_are_not_held_up(self, client, person, settings):
        for _ in range(5):
            log_in(client, person.email, "wrong")
        assert log_in(client, add_person(settings).email).status_code == 204

    def test_old_failures_do_not_count(self, session):
        accounts.create_user(session, "eva@example.org", "Eva", PASSWORD)
        long_ago = utc_now() - timedelta(minutes=16)
        session.add_all(LoginAttempt(email="eva@example.org", created_at=long_ago) for _ in range(5))
        assert isinstance(
            accounts.log_in(session, "eva@example.org", PASSWORD, timedelta(days=1)), accounts.Login
        )

    def test_guesses_at_once_are_counted_one_by_one(self, person, settings):
        outcomes = []

        def guess():
            try:
                with session_scope(settings.database_url) as session:
                    outcomes.append(accounts.log_in(session, person.email, "wrong", timedelta(days=1)))
            except TooManyRequests as error:
                outcomes.append(error)

        threads = [threading.Thread(target=guess) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(outcome, NotAuthenticated) for outcome in outcomes) == 5
        assert sum(isinstance(outcome, TooManyRequests) for outcome in outcomes) == 3


class TestSessions:
    def test_logging_out_ends_the_session(self, client, person):
        log_in(client, person.email)
        token = client.cookies[SESSION_COOKIE]
        assert client.delete(f"{URL}/current").status_code == 204
        client.cookies.set(SESSION_COOKIE, token)
        assert client.get("/api/v1/me").status_code == 401

    def test_logging_out_twice_is_harmless(self, client):
        assert client.delete(f"{URL}/current").status_code == 204

    def test_an_expired_session_is_no_session_and_is_cleared_away(self, session):
        user = accounts.create_user(session, "max@example.org", "Max", PASSWORD)
        old = accounts.log_in(session, "max@example.org", PASSWORD, timedelta(seconds=-1))
        assert accounts.find_user_by_session(session, old.token) is None
        accounts.log_in(session, "max@example.org", PASSWORD, timedelta(days=1))
        sessions = select(func.count()).where(BrowserSession.user_id == user.id)
        assert session.scalar(sessions) == 1

    def test_a_made_up_cookie_is_nobody(self, client):
        client.cookies.set(SESSION_COOKIE, "x" * 43)
        assert client.get("/api/v1/me").status_code == 401

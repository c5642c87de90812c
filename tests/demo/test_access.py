"""The passing token of the demo on the service's own machine."""

import pytest

from demo.access import TOKEN_NAME, default_url, passing_token
from demo.errors import DemoError
from server.accounts import service as accounts
from server.database import session_scope
from server.settings import Settings


class TestPassingToken:
    def test_without_an_admin(self, settings: Settings) -> None:
        with pytest.raises(DemoError, match="no admin yet"), passing_token():
            pass

    def test_is_the_first_admins_and_ends_with_the_block(self, settings: Settings) -> None:
        with session_scope(settings.database_url) as session:
            accounts.ensure_first_admin(session)
        with passing_token() as token, session_scope(settings.database_url) as session:
            user = accounts.find_user_by_api_token(session, token)
            assert user is not None
            assert user.email == accounts.FIRST_ADMIN_EMAIL
            assert [row.name for row in accounts.list_api_tokens(session, user)] == [TOKEN_NAME]
        with session_scope(settings.database_url) as session:
            assert accounts.find_user_by_api_token(session, token) is None


class TestDefaultUrl:
    def test_names_this_machine(self, settings: Settings) -> None:
        assert default_url() == f"http://127.0.0.1:{settings.port}"

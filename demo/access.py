"""How the demo gets in: a token that is given, or a passing one on the service's own machine.

Everything else of the demo speaks REST only. Who may read the service's database may make a token anyway.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc
from sqlalchemy import select

from demo.errors import DemoError
from server import embedded
from server.accounts import service as accounts
from server.database import session_scope
from server.settings import Settings, get_settings
from server.tables import User

TOKEN_NAME = "newfound demo"
NOT_HERE = "No service runs here. Start it with `newfound up`, or name one with --url and --token."


def default_url() -> str:
    """Address of the service that runs on this machine."""
    settings = get_settings()
    host = "localhost" if settings.host in ("0.0.0.0", "::", "") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


@contextmanager
def passing_token() -> Iterator[str]:
    """A token of the service's first admin, revoked when the block ends."""
    database_url = _database_url(get_settings())
    try:
        with session_scope(database_url) as session:
            admin = session.scalar(
                select(User)
                .where(User.is_admin, User.disabled_at.is_(None))
                .order_by(User.created_at, User.id)
                .limit(1)
            )
            if admin is None:
                raise DemoError("The service has no admin yet. Start it once with `newfound up`.")
            row, token = accounts.create_api_token(session, admin, TOKEN_NAME)
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.ProgrammingError) as error:
        raise DemoError(NOT_HERE) from error
    try:
        yield token
    finally:
        with session_scope(database_url) as session:
            accounts.revoke_api_token(session, session.get_one(User, admin.id), row.id)


def _database_url(settings: Settings) -> str:
    if settings.database_url:
        return settings.database_url
    running = embedded.find_running(settings.home)
    if running is None:
        raise DemoError(NOT_HERE)
    return running.database_url

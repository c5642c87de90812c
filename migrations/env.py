"""Runs migrations on ``NEWFOUND_DATABASE_URL`` or on the URL given by ``migrations.upgrade``."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from server.settings import get_settings
from server.tables import Base

url = context.config.get_main_option("sqlalchemy.url") or get_settings().database_url
if not url:
    raise SystemExit("NEWFOUND_DATABASE_URL is not set: name the database, or run `newfound migrate`.")

with create_engine(url, poolclass=NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        # Several processes may start at once: one migrates, the others wait and find it done.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('newfound.migrations'))"))
        # A migration gives up rather than block a live service behind a table lock.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        context.run_migrations()

"""Runs migrations on ``NEWFOUND_DATABASE_URL`` or on the URL given by ``migrations.upgrade``."""

from alembic import context
from sqlalchemy import create_engine, text

from server.settings import get_settings
from server.tables import Base

url = context.config.get_main_option("sqlalchemy.url") or get_settings().database_url
if not url:
    raise SystemExit("NEWFOUND_DATABASE_URL is not set: name the database, or run `newfound migrate`.")

with create_engine(url).connect() as connection:
    # A migration waits its turn and gives up rather than block a live service behind a lock.
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.execute(text("SELECT pg_advisory_lock(hashtext('newfound.migrations'))"))
    connection.commit()
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()

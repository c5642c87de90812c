"""Tables and migrations say the same, also where Alembic's own comparison does not look."""

import subprocess
import sys

from alembic import command
from sqlalchemy import CheckConstraint, create_engine, text

from migrations import config_for, upgrade
from server.tables import Base


def check_texts(connection):
    rows = connection.execute(
        text(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
        )
    )
    return {(table, name): definition for table, name, definition in rows}


def index_texts(connection):
    rows = connection.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
    return dict(rows.all())


class TestMigrations:
    def test_alembic_finds_no_difference(self, database_url):
        command.check(config_for(database_url))

    def test_checks_and_index_conditions_agree_with_the_tables(self, database_url, empty_database):
        # `alembic check` compares neither CHECK constraints nor the WHERE of a partial index.
        migrated = create_engine(database_url)
        direct = create_engine(empty_database)
        with direct.begin() as connection:
            connection.execute(text("CREATE EXTENSION vector"))
            Base.metadata.create_all(connection)
        with migrated.connect() as one, direct.connect() as other:
            assert check_texts(one) == check_texts(other)
            ours = index_texts(one)
            ours.pop("alembic_version_pkc", None)
            assert ours == index_texts(other)
        migrated.dispose()
        direct.dispose()

    def test_every_enum_column_has_its_check(self, database_url):
        engine = create_engine(database_url)
        with engine.connect() as connection:
            present = {name for _, name in check_texts(connection)}
        engine.dispose()
        expected = {
            constraint.name
            for table in Base.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }
        assert {str(name) for name in expected} <= present

    def test_down_and_up_again(self, empty_database):
        upgrade(empty_database)
        command.downgrade(config_for(empty_database), "base")
        upgrade(empty_database)
        command.check(config_for(empty_database))

    def test_two_processes_may_migrate_at_once(self, empty_database):
        code = f"from migrations import upgrade; upgrade({empty_database!r})"
        processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
        command.check(config_for(empty_database))

    def test_vectors_stay_out_of_toast(self, database_url):
        engine = create_engine(database_url)
        with engine.connect() as connection:
            storage = connection.execute(
                text(
                    "SELECT attrelid::regclass || '.' || attname, attstorage FROM pg_attribute "
                    "WHERE attname IN ('vector', 'centroid') AND attrelid IN "
                    "('features'::regclass, 'embeddings'::regclass, 'class_memory'::regclass)"
                )
            )
            assert dict(storage.all()) == {
                "features.vector": "p",
                "embeddings.vector": "p",
                "class_memory.centroid": "p",
            }
        engine.dispose()

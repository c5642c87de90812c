"""The database's history, and the one function that brings a database up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def config_for(database_url: str) -> Config:
    """Alembic's configuration for ``database_url``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    # configparser reads % as the start of a reference.
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    return config


def upgrade(database_url: str) -> None:
    """Bring the database to the newest revision; does nothing where it is there already."""
    command.upgrade(config_for(database_url), "head")

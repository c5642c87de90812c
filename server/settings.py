"""Everything that can be set from outside, read once from the environment (prefix ``NEWFOUND_``)."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Settings of every process. The README's table is held to these fields by a test."""

    model_config = SettingsConfigDict(env_prefix="NEWFOUND_", frozen=True)

    home: Path = Field(Path(".newfound"), description="Folder of all state: database, images, checkpoints.")
    database_url: str = Field("", description="PostgreSQL with pgvector; empty: the embedded one.")
    redis_url: str = Field("", description="Redis; empty: the embedded one.")
    host: str = Field("127.0.0.1", description="Address that the web process listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the web process listens on.")
    https_only: bool = Field(
        False, description="Mark the session cookie Secure; set it when served over TLS."
    )
    session_days: int = Field(14, ge=1, description="Days until a browser has to log in again.")
    max_request_mib: int = Field(512, ge=1, description="Largest upload request, in MiB.")
    max_image_mib: int = Field(64, ge=1, description="Largest single image file, in MiB.")
    max_image_megapixels: int = Field(100, ge=1, description="Largest picture that is decoded.")
    max_archive_members: int = Field(200_000, ge=1, description="Most files that a zip may hold.")
    predict_deadline_seconds: float = Field(
        10.0, gt=0, description="A prediction later than this answers 503."
    )
    predict_queue_limit: int = Field(256, ge=1, description="Waiting predictions before new ones get 503.")
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="Where features are computed.")
    worker_threads: int = Field(2, ge=1, description="Forward passes that a worker runs at once.")
    log_format: str = Field("console", pattern="^(console|json)$", description="How log lines are written.")

    @property
    def images_folder(self) -> Path:
        """Folder of content-addressed image files."""
        return self.home / "images"

    @property
    def checkpoints_folder(self) -> Path:
        """Folder with one sub-folder per trained model version."""
        return self.home / "checkpoints"

    @property
    def celery_broker_url(self) -> str:
        """``redis_url`` in kombu's spelling, which differs for a Unix socket."""
        if self.redis_url.startswith("unix://"):
            return "redis+socket://" + self.redis_url.removeprefix("unix://")
        return self.redis_url

    @model_validator(mode="after")
    def _absolute_home(self) -> "Settings":
        # Child processes and pooled workers may run in other folders.
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        return self

    def require_services(self) -> None:
        """Raise ``RuntimeError`` if no database or broker is configured."""
        missing = [
            f"NEWFOUND_{name.upper()}" for name in ("database_url", "redis_url") if not getattr(self, name)
        ]
        if missing:
            raise RuntimeError(
                f"{' and '.join(missing)} not set: start everything with `newfound up`, "
                "or name the servers of your own."
            )


@lru_cache
def get_settings() -> Settings:
    """The process-wide settings."""
    return Settings()

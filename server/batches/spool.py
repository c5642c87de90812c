"""Archives that wait to be unpacked by the worker, one folder per batch on the shared volume."""

import os
import shutil
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from server.storage import sync, write_atomically

_CHUNK = 1024 * 1024


class Spool:
    """The folder of waiting archives. A file in it is whole: it gets its name only then."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "spool"

    def add(self, batch_id: uuid.UUID, source: BinaryIO) -> Path:
        """Copy ``source`` to the end of the batch's line. Raises ``StorageFull``."""
        path = self._folder / str(batch_id) / f"{time.time_ns():020d}-{uuid.uuid4().hex}.zip"

        def copy(descriptor: int) -> None:
            source.seek(0)
            with os.fdopen(os.dup(descriptor), "wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)

        write_atomically(path, copy)
        sync([path])
        return path

    def waiting(self, batch_id: uuid.UUID) -> list[Path]:
        """The batch's archives in the order in which they came."""
        return sorted((self._folder / str(batch_id)).glob("*.zip"))

    def list_untouched(self, since: datetime) -> list[uuid.UUID]:
        """Batches to whose line nothing has come, and from which nothing has gone, since then."""
        return [
            uuid.UUID(folder.name)
            for folder in self._folder.glob("*-*-*-*-*")
            if folder.stat().st_mtime < since.timestamp()
        ]

    def drop(self, batch_id: uuid.UUID) -> None:
        """Forget the batch's line with all that is in it."""
        shutil.rmtree(self._folder / str(batch_id), ignore_errors=True)

    def position(self, path: Path) -> int:
        """How many of the archive's files have been recorded."""
        try:
            return int(self._mark(path).read_text() or 0)
        except FileNotFoundError:
            return 0

    def move_to(self, path: Path, position: int) -> None:
        """Remember how many files have been recorded. Lost by a crash, they are only looked at again."""
        self._mark(path).write_text(str(position))

    def remove(self, path: Path) -> None:
        """Forget an archive: it has been unpacked, or its upload failed."""
        path.unlink(missing_ok=True)
        self._mark(path).unlink(missing_ok=True)

    def _mark(self, path: Path) -> Path:
        return path.with_suffix(".position")

"""Image files by content: the original bytes, and what is derived from them.

A file is named by the sha256 of the original, so equal bytes are stored once and a name from outside
never becomes a path. Originals are kept for the network and never served: what a browser gets has been
decoded and encoded again by us.
"""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from PIL import Image

from model.images import WORKING_SIDE, Picture, encode_jpeg, fit_within, open_picture, working_copy
from server.errors import StorageFull

DISPLAY_SIDE = 1600
# Below this short side the original decodes about as fast as a copy would.
LARGE_SIDE = 2 * WORKING_SIDE
WORKING_QUALITY = 92
DISPLAY_QUALITY = 90
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, write: Callable[[int], None]) -> None:
    """Let ``write`` fill a new file by its descriptor, then give it its name: whole or not at all.

    The disk may have it later, see :func:`sync`. Raises :class:`StorageFull` if there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with _full_disk_named():
            try:
                write(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def sync(paths: Collection[Path]) -> None:
    """Wait until the disk has these files and their names. Raises :class:`StorageFull`."""
    with _full_disk_named():
        # All at once: a journalling file system then writes them together.
        list(_sync_pool().map(_sync, [*paths, *{path.parent for path in paths}]))


@lru_cache(maxsize=1)
def _sync_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(16, thread_name_prefix="sync")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            "The server's disk is full, so nothing of this was kept. Free some room and send it again."
        ) from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def needs_working_copy(picture: Picture) -> bool:
    """Whether the network reads a copy of this picture instead of the original."""
    return min(picture.width, picture.height) >= LARGE_SIDE


def working_jpeg(image: Image.Image) -> bytes:
    """The copy that the network reads of a large picture, and that a thumbnail shows of any."""
    return encode_jpeg(working_copy(image), WORKING_QUALITY)


class ImageStore:
    """Images in a local folder, addressed by the sha256 of the original bytes (64 hex digits)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, kind: str, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(f"not a sha256: {sha256!r}")
        return self._folder / kind / sha256[:2] / sha256

    def add(self, sha256: str, original: bytes, picture: Picture) -> None:
        """Keep the original and, if it is large, a working copy. Repeating is harmless.

        Call :meth:`make_durable` before anything refers to it.
        """
        path = self._path("original", sha256)
        # After a power cut a file may be there by name only; its bytes are known, so its size tells.
        if not path.exists() or path.stat().st_size != len(original):
            write_atomically(path, lambda file: _write_all(file, original))
        if needs_working_copy(picture):
            self._derive("working", sha256, working_jpeg(picture.image))

    def make_durable(self, hashes: Collection[str]) -> None:
        """Wait until the disk has these originals. What is derived from them can be made again."""
        sync([self._path("original", sha256) for sha256 in hashes])

    def original(self, sha256: str) -> bytes:
        """The bytes as they came. For the network and for exports, never for a browser."""
        return self._path("original", sha256).read_bytes()

    def working(self, sha256: str) -> bytes:
        """What the network decodes: a copy with a short side of 256 px, or an original that is not large."""
        return self._derived("working", sha256) or self.original(sha256)

    def thumbnail(self, sha256: str) -> bytes:
        """JPEG for a browser, short side at most 256 px."""
        return (
            self._derived("working", sha256)
            or self._derived("thumbnail", sha256)
            or self._derive("thumbnail", sha256, self._encode_thumbnail(sha256))
        )

    def display(self, sha256: str) -> bytes:
        """JPEG for a browser within 1600 x 1600 px, made when it is first looked at: most never are."""
        return self._derived("display", sha256) or self._derive(
            "display", sha256, self._encode_display(sha256)
        )

    def _encode_thumbnail(self, sha256: str) -> bytes:
        return working_jpeg(self._decode(sha256, target=WORKING_SIDE))

    def _encode_display(self, sha256: str) -> bytes:
        return encode_jpeg(
            fit_within(self._decode(sha256, bound=DISPLAY_SIDE), DISPLAY_SIDE), DISPLAY_QUALITY
        )

    def _decode(self, sha256: str, target: int = 1, bound: int | None = None) -> Image.Image:
        data = self.original(sha256)
        # What was accepted under the limits of its day is shown under any.
        return open_picture(
            data, max_pixels=sys.maxsize, max_bytes=len(data), target=target, bound=bound
        ).image

    def _derived(self, kind: str, sha256: str) -> bytes | None:
        # Nobody waits until the disk has a derived file: a power cut may leave one empty.
        try:
            return self._path(kind, sha256).read_bytes() or None
        except FileNotFoundError:
            return None

    def _derive(self, kind: str, sha256: str, jpeg: bytes) -> bytes:
        write_atomically(self._path(kind, sha256), lambda file: _write_all(file, jpeg))
        return jpeg

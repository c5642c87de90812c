"""Image files by content: the original bytes, and what is derived from them.

A file is named by the sha256 of the original, so equal bytes are stored once and a name from outside
never becomes a path. Originals are kept for the network and never served: what a browser gets has been
decoded and encoded again by us.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from model.images import WORKING_SIDE, encode_jpeg, fit_within, open_picture, working_copy
from server.errors import StorageFull

DISPLAY_SIDE = 1600
WORKING_QUALITY = 92
DISPLAY_QUALITY = 90
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, write: Callable[[int], None], *, durable: bool) -> None:
    """Let ``write`` fill a new file by its descriptor, then give it its name: whole or not at all.

    ``durable`` waits until the disk has it. Raises :class:`StorageFull` if there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        try:
            write(descriptor)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise StorageFull(
                "The server's disk is full, so nothing of this file was kept. "
                "Free some room and send it again."
            ) from error
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _working_jpeg(image: Image.Image) -> bytes:
    return encode_jpeg(working_copy(image), WORKING_QUALITY)


class ImageStore:
    """Images in a local folder, addressed by the sha256 of the original bytes (64 hex digits)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, kind: str, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(f"not a sha256: {sha256!r}")
        return self._folder / kind / sha256[:2] / sha256[2:4] / sha256

    def add(self, sha256: str, original: bytes, image: Image.Image) -> None:
        """Keep the original and what the network reads of its decoded picture. Repeating is harmless."""
        path = self._path("original", sha256)
        if not path.exists():
            write_atomically(path, lambda file: _write_all(file, original), durable=True)
        if min(image.size) > WORKING_SIDE:
            self._derive("working", sha256, _working_jpeg(image))

    def original(self, sha256: str) -> bytes:
        """The bytes as they came. For the network and for exports, never for a browser."""
        return self._path("original", sha256).read_bytes()

    def working(self, sha256: str) -> bytes:
        """What the network decodes: a copy with a short side of 256 px, or the original if it is smaller."""
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
        return _working_jpeg(open_picture(self._path("original", sha256), target=WORKING_SIDE).image)

    def _encode_display(self, sha256: str) -> bytes:
        picture = open_picture(self._path("original", sha256), target=1, bound=DISPLAY_SIDE)
        return encode_jpeg(fit_within(picture.image, DISPLAY_SIDE), DISPLAY_QUALITY)

    def _derived(self, kind: str, sha256: str) -> bytes | None:
        # Derived files are not synced to disk; a power cut may leave one empty, and it is made again.
        try:
            return self._path(kind, sha256).read_bytes() or None
        except FileNotFoundError:
            return None

    def _derive(self, kind: str, sha256: str, jpeg: bytes) -> bytes:
        write_atomically(self._path(kind, sha256), lambda file: _write_all(file, jpeg), durable=False)
        return jpeg

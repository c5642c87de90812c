"""From a file's bytes to a stored picture: hash, decode once, store. No SQL; the rows come after.

Files are taken in slices of bounded size, so memory stays bounded however many are sent, and the
threads of one shared pool decode them, so that many uploads at once do not decode more than the cores can.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from model.images import MIB, WORKING_SIDE, PictureError, open_picture
from server.batches.archives import ArchiveError
from server.storage import ImageStore

SLICE_FILES = 64
SLICE_BYTES = 64 * MIB
# However many requests send at once, so many slices of them are read at a time.
_slices_in_memory = threading.BoundedSemaphore(4)


@dataclass(frozen=True)
class File:
    """A file that may be a picture. ``read`` gives its bytes; ``name`` is cleaned."""

    name: str
    byte_size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Refused:
    """A file that gives no picture, with the reason and the mend."""

    name: str
    byte_size: int
    code: str
    message: str


@dataclass(frozen=True)
class Known:
    """A file whose bytes are an image of the project already."""

    name: str
    byte_size: int
    sha256: str


@dataclass(frozen=True)
class Stored:
    """A picture that has been decoded and stored. Width and height are upright, in pixels."""

    name: str
    byte_size: int
    sha256: str
    width: int
    height: int
    media_type: str
    notes: tuple[str, ...]


Taken = Refused | Known | Stored
Files = Sequence[File]


@dataclass(frozen=True)
class PictureLimits:
    """Largest file in bytes and largest picture in pixels."""

    file_bytes: int
    pixels: int


@dataclass(frozen=True)
class _Loaded:
    name: str
    data: bytes
    sha256: str


def slices(files: Sequence[File]) -> Iterator[Sequence[File]]:
    """``files`` in order, in slices of at most 64 files and, but for one larger file, 64 MiB."""
    start, total = 0, 0
    for at, file in enumerate(files):
        if at > start and (at - start == SLICE_FILES or total + file.byte_size > SLICE_BYTES):
            yield files[start:at]
            start, total = at, 0
        total += file.byte_size
    if start < len(files):
        yield files[start:]


def take_slice(
    files: Sequence[File],
    store: ImageStore,
    limits: PictureLimits,
    find_known: Callable[[Collection[str]], Collection[str]],
) -> list[Taken]:
    """What became of each file, in order. Equal bytes are decoded once; known ones not at all.

    ``find_known`` says which of some hashes the project has. Raises ``StorageFull``.
    """
    with _slices_in_memory:
        return _take(files, store, limits, find_known)


def _take(
    files: Files,
    store: ImageStore,
    limits: PictureLimits,
    find_known: Callable[[Collection[str]], Collection[str]],
) -> list[Taken]:
    loaded = list(_pool().map(lambda file: _load(file, limits), files))
    first = {file.sha256: file for file in reversed(loaded) if isinstance(file, _Loaded)}
    known = set(find_known(first.keys())) if first else set()
    fresh = [file for sha256, file in first.items() if sha256 not in known]
    decoded = dict(
        zip(
            (file.sha256 for file in fresh),
            _pool().map(lambda file: _decode_and_store(file, store, limits), fresh),
            strict=True,
        )
    )
    store.make_durable([sha256 for sha256, file in decoded.items() if isinstance(file, Stored)])
    return [file if isinstance(file, Refused) else _as_taken(file, decoded) for file in loaded]


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="intake")


def _load(file: File, limits: PictureLimits) -> _Loaded | Refused:
    if file.byte_size > limits.file_bytes:
        return Refused(
            file.name,
            file.byte_size,
            "too-large",
            f"More than {limits.file_bytes // MIB} MiB. Save it as JPEG, or cut it into parts.",
        )
    try:
        data = file.read()
    except ArchiveError as error:
        return Refused(file.name, file.byte_size, error.code, error.message)
    return _Loaded(file.name, data, hashlib.sha256(data).hexdigest())


def _decode_and_store(file: _Loaded, store: ImageStore, limits: PictureLimits) -> Stored | Refused:
    try:
        picture = open_picture(
            file.data, max_pixels=limits.pixels, max_bytes=limits.file_bytes, target=WORKING_SIDE
        )
    except PictureError as error:
        return Refused(file.name, len(file.data), error.code, error.message)
    store.add(file.sha256, file.data, picture)
    return Stored(
        file.name,
        len(file.data),
        file.sha256,
        picture.width,
        picture.height,
        picture.media_type,
        picture.notes,
    )


def _as_taken(file: _Loaded, decoded: dict[str, Stored | Refused]) -> Taken:
    """The result for this file: that of the first file with the same bytes, under its own name."""
    result = decoded.get(file.sha256)
    if isinstance(result, Refused):
        return Refused(file.name, len(file.data), result.code, result.message)
    if result is None or result.name != file.name:
        return Known(file.name, len(file.data), file.sha256)
    return result

"""Zip files from outside: checked by their directory before anything is unpacked, then read in bounds.

Nothing is ever extracted to a path. A member is read into memory up to a limit and stored by the hash of
its bytes, so ``../`` in a name or a link has nowhere to go.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from server.batches.names import clean_name, is_clutter

GIB = 1024**3
# Entries of a directory for one file in it: the file itself, its macOS companion and a folder.
ENTRIES_PER_MEMBER = 3
# Bytes of one entry on average: its fixed part, and room for its name and extra fields.
ENTRY_BYTES = 256
# Photographs hardly shrink in a zip; this much beyond them is a bomb, not a set of pictures.
MAX_UNPACKED_RATIO = 100
ALWAYS_UNPACKED = GIB

_ENTRY_SIGNATURE = b"PK\x01\x02"
_END64_SIGNATURE = b"PK\x06\x06"
# The end record of 64 bits and its locator, before the end record (APPNOTE 4.3.14, 4.3.15).
_END64_BYTES = 56 + 20
# Places in what ``zipfile._EndRecData`` returns.
_SIGNATURE, _SIZE, _LOCATION = 0, 5, 9
_ENCRYPTED = 0x1
_UTF8 = 0x800
_UNICODE_PATH = 0x7075
_SUPPORTED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_ARCHIVE_SIGNATURES = (
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"Rar!\x1a\x07"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\0"),
    (257, b"ustar"),
)
HEAD_BYTES = 512


class ArchiveError(Exception):
    """The archive, or one member of it, is refused. ``code`` is for programs, ``message`` names the mend."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: number of files, and bytes of one file."""

    members: int
    member_bytes: int


@dataclass(frozen=True)
class Member:
    """A file in an archive that may be a picture; ``name`` is cleaned."""

    name: str
    info: zipfile.ZipInfo

    @property
    def byte_size(self) -> int:
        """Declared size, unpacked."""
        return self.info.file_size


def is_zip(head: bytes) -> bool:
    """Whether these first bytes are those of a zip, whatever the file is called."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_archive(head: bytes) -> bool:
    """Whether these first bytes are those of an archive of any common kind."""
    return any(head.startswith(signature, at) for at, signature in _ARCHIVE_SIGNATURES)


@contextmanager
def opened(file: BinaryIO, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """The zip in ``file``.

    Raises :class:`ArchiveError` with ``not-a-zip`` if its directory cannot be read, ``too-many-files`` if it
    is too long to be looked at.
    """
    try:
        _refuse_endless(file, limits)
        archive = zipfile.ZipFile(file)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        ValueError,
        OSError,
        struct.error,
    ) as error:
        raise ArchiveError(
            "not-a-zip",
            "The archive is cut off or damaged, so nothing of it was read. Pack it again and send it again.",
        ) from error
    with archive:
        yield archive


def _refuse_endless(file: BinaryIO, limits: Limits) -> None:
    """Refuse a directory of too many entries while it is bytes: ``ZipFile`` makes an object of each of them
    before anybody can ask how many there are.

    What the end record says of their number may be false, so the entries themselves are counted. The record
    is found by what ``ZipFile`` uses itself: a search of our own could be shown another directory.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None:
        raise zipfile.BadZipFile
    most = limits.members * ENTRIES_PER_MEMBER
    size, after = end[_SIZE], end[_LOCATION]
    if end[_SIGNATURE] == _END64_SIGNATURE:
        after -= _END64_BYTES
    if size <= most * ENTRY_BYTES:
        # ValueError where it would begin before the file.
        file.seek(after - size)
        if file.read(size).count(_ENTRY_SIGNATURE) <= most:
            return
    raise ArchiveError(
        "too-many-files",
        f"The archive lists more files than can be looked at; at most {limits.members:,} are read. "
        "Cut it into parts.",
    )


def list_members(archive: zipfile.ZipFile, limits: Limits) -> list[Member]:
    """The files worth looking at, in the archive's order; clutter and folders are left out.

    Reads the directory only. Raises :class:`ArchiveError` with ``no-images``, ``encrypted``,
    ``too-many-files`` or ``unpacks-too-large`` where nothing of the archive can be taken.
    """
    members = [
        Member(name, info)
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.endswith("\\")
        and not is_clutter(name := clean_name(_name_of(info)))
    ]
    if not members:
        raise ArchiveError("no-images", "The archive holds no pictures. Pack the folder that has them.")
    if len(members) > limits.members:
        raise ArchiveError(
            "too-many-files",
            f"The archive holds {len(members):,} files; at most {limits.members:,} are read. "
            "Cut it into parts.",
        )
    if all(member.info.flag_bits & _ENCRYPTED for member in members):
        raise ArchiveError("encrypted", "The archive is locked with a password. Pack it again without one.")
    _refuse_bomb(members)
    return members


def _refuse_bomb(members: list[Member]) -> None:
    packed = sum(member.info.compress_size for member in members)
    unpacked = sum(member.byte_size for member in members)
    if unpacked > max(ALWAYS_UNPACKED, packed * MAX_UNPACKED_RATIO):
        raise ArchiveError(
            "unpacks-too-large",
            f"The archive would unpack to {unpacked / GIB:,.1f} GiB, over {MAX_UNPACKED_RATIO} times "
            "its size. Pack the pictures themselves, or cut it into parts.",
        )


def read_member(archive: zipfile.ZipFile, member: Member, limits: Limits) -> bytes:
    """The bytes of one member, never more than the limit. Safe to call from several threads.

    Raises :class:`ArchiveError` with ``encrypted``, ``nested-archive``, ``too-large``,
    ``unsupported-compression`` or ``truncated``.
    """
    info = member.info
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError("encrypted", "Locked with a password. Pack it again without one.")
    if info.compress_type not in _SUPPORTED:
        raise ArchiveError(
            "unsupported-compression",
            "Packed by a method that cannot be read. Pack it again as an ordinary zip.",
        )
    try:
        with archive.open(info) as file:
            head = file.read(HEAD_BYTES)
            if is_archive(head):
                raise ArchiveError(
                    "nested-archive", "An archive inside the archive. Unpack it and send its pictures."
                )
            if info.file_size > limits.member_bytes:
                raise ArchiveError(
                    "too-large",
                    f"More than {limits.member_bytes // 1024**2} MiB. Save it as JPEG, or cut it into parts.",
                )
            return head + file.read(limits.member_bytes)
    except (zipfile.BadZipFile, EOFError, zlib.error, ValueError, OSError, RuntimeError) as error:
        raise ArchiveError(
            "truncated", "Damaged inside the archive. Pack it again; the other files are not affected."
        ) from error


def _name_of(info: zipfile.ZipInfo) -> str:
    """The member's name as its author wrote it.

    Names without the UTF-8 flag are read as code page 437, as the format says; but some packers write UTF-8
    without the flag, and some add the Unicode name in a field of its own (APPNOTE 4.6.9).
    """
    if info.flag_bits & _UTF8:
        return info.filename
    raw = info.orig_filename.encode("cp437", errors="replace")
    return _unicode_path(info.extra, raw) or _as_utf8(raw) or info.filename


def _as_utf8(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _unicode_path(extra: bytes, raw_name: bytes) -> str | None:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if kind == _UNICODE_PATH and len(field) > 5:
            version, checksum = struct.unpack_from("<BL", field)
            if version == 1 and checksum == zlib.crc32(raw_name):
                return _as_utf8(field[5:])
        at += 4 + length
    return None

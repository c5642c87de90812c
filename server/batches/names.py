"""File names from outside: what a person sees of them, and which files are nobody's pictures."""

import re
import unicodedata

MAX_NAME = 500
MAX_PART = 200
# Controls and bidirectional overrides: they can break a line or make a name read backwards.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVE = re.compile(r"^[A-Za-z]:(?=/|$)")
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})


def clean_name(raw: str) -> str:
    """The path in one form: ``/`` between folders, relative, composed Unicode, no unseen characters.

    ``../`` and drive letters are dropped. The result is shown and compared, never used as a path.
    """
    path = _DRIVE.sub("", unicodedata.normalize("NFC", raw).replace("\\", "/"))
    parts = [_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", part).strip() for part in path.split("/")]
    return _shortened([part for part in parts if part not in ("", ".", "..")]) or "unnamed"


def _shortened(parts: list[str]) -> str:
    """The path within ``MAX_NAME``. Its last folders are kept: the one above the file may name a class."""
    parts = [_cut(part) for part in parts]
    kept: list[str] = []
    while parts and len("/".join([parts[-1], *kept])) <= MAX_NAME - len("…/"):
        kept.insert(0, parts.pop())
    return "/".join(["…", *kept] if parts else kept)


def _cut(part: str) -> str:
    """Long parts keep their beginning and their end: the extension tells."""
    if len(part) <= MAX_PART:
        return part
    half = (MAX_PART - 1) // 2
    return f"{part[:half]}…{part[-half:]}"


def numbered(name: str, number: int) -> str:
    """The name of the ``number``-th different file called ``name``: ``a.png``, ``a.png (2)``, …"""
    return name if number == 1 else f"{name} ({number})"


def is_clutter(name: str) -> bool:
    """Whether a cleaned name belongs to a system's or an editor's own file, which is passed over silently."""
    return any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in name.split("/"))


def class_folder(name: str) -> str | None:
    """The folder directly above the file, which names its class in a labelled upload."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else None

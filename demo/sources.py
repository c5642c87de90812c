"""Where pictures with known truth come from: emoji, a folder of class folders, or a zip.

A source only lists and reads. What is shown to the service and what is held back is decided in ``dataset``.
"""

import csv
import hashlib
import io
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from demo.emoji import emoji
from demo.errors import DemoError

MANIFEST = "manifest.csv"
NOVEL_SHARE = 0.2
SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jpeg",
    ".jpg",
    ".jp2",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)


@dataclass(frozen=True)
class Example:
    """One picture: ``path`` within its source, its true ``category``, its ``split`` if the source has any."""

    path: str
    category: str
    split: str = ""


@dataclass(frozen=True)
class Source:
    """Pictures of known truth, each of other bytes than the rest.

    ``novel`` names the categories to hold back; ``notes`` say what was left out and why.
    """

    name: str
    examples: tuple[Example, ...]
    read: Callable[[str], bytes]
    novel: frozenset[str]
    notes: tuple[str, ...] = ()


def open_source(path: Path | None) -> Source:
    """The emoji, or the pictures under ``path``: a folder of class folders, or a zip.

    A zip or folder with ``manifest.csv`` (columns path, label and, if it has them, split) is read by it.
    Raises :class:`DemoError` that names the mend.
    """
    if path is None:
        return emoji_source()
    if path.is_dir():
        return _from_tree(path.name or path.absolute().name, *_folder_tree(path))
    if path.is_file():
        return _from_tree(path.stem, *_zip_tree(path))
    raise DemoError(f"{path} does not exist. Give a folder of class folders, or a zip of one.")


def emoji_source() -> Source:
    """Emoji sorted by look."""
    from demo.emoji import NOVEL

    try:
        found = {f"{one.category}/{one.short_name}.png": one for one in emoji()}
    except ModuleNotFoundError as error:
        raise DemoError(
            "The demo's pictures are not installed: pip install 'newfound[demo]'. "
            "Or give pictures of your own with --images."
        ) from error
    examples = [Example(path, one.category) for path, one in found.items()]
    return _distinct("Emoji", examples, lambda path: found[path].file.read_bytes(), frozenset(NOVEL), ())


def _folder_tree(folder: Path) -> tuple[list[str], Callable[[str], bytes]]:
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return names, lambda name: (folder / name).read_bytes()


def _zip_tree(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DemoError(f"{path} is not a zip that can be read. Copy it again from its source.") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    if any(member.flag_bits & 1 for member in members):
        raise DemoError(f"{path} is locked by a password. Unpack it and give the folder.")
    return sorted(member.filename for member in members), archive.read


def _from_tree(name: str, names: list[str], read: Callable[[str], bytes]) -> Source:
    rows, notes = _listed(names, read(MANIFEST)) if MANIFEST in names else _by_folder(names)
    if not rows:
        raise DemoError(
            f"{name} holds no picture of a class. Put the pictures of each class into a folder of its name."
        )
    labels = _same_spelling(row.category for row in rows)
    titles = short_titles(set(labels.values()))
    novel = frozenset(titles[label] for label in held_back(set(labels.values())))
    examples = [Example(row.path, titles[labels[row.category]], row.split) for row in rows]
    return _distinct(name, examples, read, novel, notes)


def held_back(labels: Collection[str]) -> frozenset[str]:
    """The fifth of the labels whose SHA-1 hex digest sorts last, at least one."""
    ordered = sorted(labels, key=lambda label: hashlib.sha1(label.encode()).hexdigest())
    return frozenset(ordered[-max(1, round(NOVEL_SHARE * len(ordered))) :])


def _by_folder(names: Iterable[str]) -> tuple[list[Example], tuple[str, ...]]:
    """The class of a picture is the folder directly above it, as in an import."""
    pictures = [name for name in names if _is_picture(name)]
    folders = {name: PurePosixPath(name.replace("\\", "/")).parent.name for name in pictures}
    homeless = sum(not folder for folder in folders.values())
    notes = (f"{homeless} pictures lie in no class folder and were left out.",) if homeless else ()
    return [Example(name, folder) for name, folder in folders.items() if folder], notes


def _listed(names: Iterable[str], manifest: bytes) -> tuple[list[Example], tuple[str, ...]]:
    try:
        rows = list(csv.DictReader(io.StringIO(manifest.decode("utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise DemoError(f"{MANIFEST} is not UTF-8 text. Save it as CSV in UTF-8.") from error
    if not rows or not {"path", "label"} <= set(rows[0]):
        raise DemoError(f"{MANIFEST} needs the columns path and label, and a row for each picture.")
    present = set(names)
    usable = [row for row in rows if row["path"] in present and (row["label"] or "").strip()]
    left_out = len(rows) - len(usable)
    notes = (f"{left_out} rows of {MANIFEST} have no picture or no label.",) if left_out else ()
    examples = [
        Example(row["path"], row["label"].strip(), (row.get("split") or "").strip().lower()) for row in usable
    ]
    return examples, notes


def short_titles(labels: Iterable[str]) -> dict[str, str]:
    """Names for labels written as paths: as few last parts as tell each label from all others.

    "Fruit/Pear/Anjou" becomes "Anjou"; "Mushroom/Brown" beside "Onion/Brown" stays "Mushroom Brown".
    """
    parts = {label: [part for part in label.split("/") if part] or [label] for label in labels}
    titles = {}
    for label, own in parts.items():
        length = next(
            length
            for length in range(1, len(own) + 1)
            if length == len(own)
            or all(other[-length:] != own[-length:] for key, other in parts.items() if key != label)
        )
        titles[label] = " ".join(own[-length:])
    return titles


def _same_spelling(labels: Iterable[str]) -> dict[str, str]:
    """Label → its first spelling as the service shows it.

    Names that differ in case, spaces or Unicode form are one name there.
    """
    first: dict[str, str] = {}
    shown = {label: " ".join(unicodedata.normalize("NFC", label).split()) for label in labels}
    return {label: first.setdefault(_key(name), name) for label, name in shown.items()}


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in SUFFIXES


def _distinct(
    name: str,
    examples: list[Example],
    read: Callable[[str], bytes],
    novel: frozenset[str],
    notes: tuple[str, ...],
) -> Source:
    """Keep each picture once: the same bytes in two splits would be a test on training images.

    Bytes that lie in two classes have no truth and are left out altogether.
    """
    same: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        same[hashlib.sha256(read(one.path)).hexdigest()].append(one)
    kept, torn = [], 0
    for group in same.values():
        if len(Counter(one.category for one in group)) > 1:
            torn += len(group)
        else:
            kept.append(group[0])
    repeats = len(examples) - torn - len(kept)
    found = list(notes)
    if repeats:
        found.append(f"{repeats} pictures repeat the bytes of another one and were left out.")
    if torn:
        found.append(f"{torn} pictures lie in two classes with the same bytes and were left out.")
    return Source(name, tuple(kept), read, novel, tuple(found))

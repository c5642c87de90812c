"""Pictures in a folder of class folders, and their features."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from model.arrays import F32, U8
from model.images import PictureError, open_picture, working_copy
from model.runtime import Extractor

# Small batches are the fastest on a CPU and bound the memory.
BATCH = 8


class DataError(Exception):
    """A folder does not hold what was asked for; the message names it and the mend."""


@dataclass(frozen=True)
class LabelledFile:
    """A file and the class folder that it lies in."""

    path: Path
    category: str


@dataclass(frozen=True)
class Features:
    """``x`` f32[N,F] of the files at ``places`` (their positions in what was given); ``problems`` says for
    each other file why it gave none."""

    x: F32
    places: list[int]
    problems: dict[Path, str]


def labelled_files(folder: Path) -> list[LabelledFile]:
    """All files below the class folders of ``folder``, by class and path. Hidden files and folders and
    those that macOS adds to archives are passed over.

    Raises DataError if there is no such folder or no file in any class folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give a folder that holds one folder of images per class.")
    files = [
        LabelledFile(path, category.name)
        for category in sorted(folder.iterdir())
        if category.is_dir() and _is_content(category.relative_to(folder))
        for path in sorted(category.rglob("*"))
        if path.is_file() and _is_content(path.relative_to(folder))
    ]
    if not files:
        raise DataError(
            f"{folder} holds no class folder with files in it: put the images of each class into one."
        )
    return files


def split(files: Sequence[LabelledFile], held_out: float) -> tuple[list[LabelledFile], list[LabelledFile]]:
    """Files to train on and files held out, the same for the same names on any machine.

    Of each class the share ``held_out`` is held back, rounded down, so that the only image of a class is
    trained on.
    """
    keep: list[LabelledFile] = []
    back: list[LabelledFile] = []
    for category in sorted({file.category for file in files}):
        members = [file for file in files if file.category == category]
        members.sort(key=lambda file: hashlib.sha256(f"{category}/{file.path.name}".encode()).hexdigest())
        cut = int(held_out * len(members))
        back += members[:cut]
        keep += members[cut:]
    return keep, back


def extract_features(
    paths: Sequence[Path], extractor: Extractor, progress: Callable[[int, int], None] | None = None
) -> Features:
    """Features of every picture that can be read; one bad file costs only itself."""
    problems: dict[Path, str] = {}
    places: list[int] = []
    parts = [np.zeros((0, extractor.dim), np.float32)]
    for batch in _batches(_pictures(paths, extractor, problems), BATCH):
        places += [place for place, _ in batch]
        parts.append(extractor.extract(np.stack([pixels for _, pixels in batch])))
        if progress is not None:
            progress(places[-1] + 1, len(paths))
    return Features(np.concatenate(parts), places, problems)


def _pictures(
    paths: Sequence[Path], extractor: Extractor, problems: dict[Path, str]
) -> Iterator[tuple[int, U8]]:
    for place, path in enumerate(paths):
        try:
            yield place, extractor.preprocess(working_copy(open_picture(path).image))
        except PictureError as error:
            problems[path] = error.message
        except OSError as error:
            problems[path] = f"The file cannot be read: {error.strerror or error}."


def _batches(items: Iterable[tuple[int, U8]], size: int) -> Iterator[list[tuple[int, U8]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _is_content(path: Path) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)

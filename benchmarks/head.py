"""How well the head recognises, rejects and learns new classes: ``python -m benchmarks.head --data …``.

Protocol. Known and new classes: of a set without new classes of its own, the labels whose sha1 hex digest
sorts last, 20 % of them, are new. The head is trained on training images of the known classes, with
``--tail`` on a long tail of them (exponential, the order of classes drawn by the seed). Then every new
class gets 1, 3 and 5 labels, random training images, and all of them compete with the known classes on
the test images. Nothing is chosen on these figures: the constants of the head were chosen with
``--validation`` (see docs/results/head.md).
"""

import argparse
import csv
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.emoji import NOVEL, emoji
from model.arrays import F32, I64, Bool
from model.data import BATCH, labelled_files
from model.evaluate import evaluate
from model.images import open_picture, working_copy
from model.recogniser import Recogniser
from model.runtime import Extractor, load_extractor
from model.train import TrainConfig, train_head

LABELS = (1, 3, 5)
NEW_SHARE = 0.2
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Picture:
    """A labelled picture; ``split`` is empty where the set has no split of its own."""

    read: Callable[[], bytes]
    label: str
    split: str


@dataclass(frozen=True)
class DataSet:
    """Features f32[N,F] with the label and split of each and the classes that nobody has named yet."""

    name: str
    x: F32
    labels: Names
    splits: Names
    new: list[str]

    def validation(self) -> "DataSet":
        """The known classes alone, without the test split; a fifth of them plays the new ones. What is
        chosen, is chosen here."""
        rows = ~np.isin(self.labels, self.new) & (self.splits != "test")
        labels = self.labels[rows]
        new = last_by_digest(sorted(set(labels.tolist())))
        return DataSet(f"{self.name}-validation", self.x[rows], labels, np.full(len(labels), ""), new)


@dataclass(frozen=True)
class Roles:
    """Rows of a data set: known classes for training and test, new classes to label from and to test on."""

    train: I64
    test: I64
    new_pool: I64
    new_test: I64


def pictures_of(source: str) -> Iterator[Picture]:
    """Pictures of ``emoji``, of a zip with ``manifest.csv`` or of a folder of class folders."""
    if source == "emoji":
        yield from (Picture(one.file.read_bytes, one.category, "") for one in emoji())
    elif zipfile.is_zipfile(source):
        yield from pictures_in_zip(zipfile.ZipFile(source))
    else:
        yield from (Picture(file.path.read_bytes, file.category, "") for file in labelled_files(Path(source)))


def pictures_in_zip(archive: zipfile.ZipFile) -> Iterator[Picture]:
    rows = list(csv.DictReader(io.TextIOWrapper(archive.open("manifest.csv"), "utf-8")))
    # One label of grocery-store has another path in its test split: the last part is the class.
    full = {row["label"].rsplit("/", 1)[-1]: row["label"] for row in rows if row["split"] == "train"}
    for row in rows:
        name = row["label"].rsplit("/", 1)[-1]
        label = row["label"] if row["label"] in full.values() else full.get(name, row["label"])
        yield Picture(lambda path=row["path"]: archive.read(path), label, row["split"])  # type: ignore[misc]


def load(source: str, cache: Path) -> DataSet:
    """The data set; its features are kept in ``cache`` by source and runtime."""
    extractor = load_extractor("cpu", threads=2, cache_dir=cache)
    name = Path(source).stem
    kept = cache / f"{name}-{extractor.key}.npz"
    if not kept.exists():
        pictures = list(pictures_of(source))
        x = features_of(pictures, extractor)
        labels, splits = [p.label for p in pictures], [p.split for p in pictures]
        np.savez(kept, x=x, labels=np.array(labels), splits=np.array(splits))
    with np.load(kept) as stored:
        x, labels, splits = stored["x"], stored["labels"], stored["splits"]
    new = sorted(NOVEL) if source == "emoji" else last_by_digest(sorted(set(labels.tolist())))
    return DataSet(name, x, labels, splits, new)


def features_of(pictures: Sequence[Picture], extractor: Extractor) -> F32:
    parts = []
    for start in range(0, len(pictures), BATCH):
        images = [working_copy(open_picture(p.read()).image) for p in pictures[start : start + BATCH]]
        parts.append(extractor.extract(np.stack([extractor.preprocess(image) for image in images])))
    return np.concatenate(parts)


def last_by_digest(labels: Sequence[str]) -> list[str]:
    ordered = sorted(labels, key=lambda label: hashlib.sha1(label.encode()).hexdigest())
    return ordered[len(ordered) - round(NEW_SHARE * len(ordered)) :]


def roles_of(data: DataSet, tail: tuple[int, int] | None, rng: np.random.Generator) -> Roles:
    """Who plays what for one seed. Without a split of its own, 30 % of each known class and half of each
    new class are for testing."""
    is_new = np.isin(data.labels, data.new)
    if (data.splits != "").any():
        train, test = data.splits == "train", data.splits == "test"
    else:
        test = random_test(data.labels, np.where(is_new, 0.5, 0.3), rng)
        train = ~test
    known_train = np.flatnonzero(train & ~is_new)
    if tail is not None:
        known_train = long_tail(known_train, data.labels[known_train], tail, rng)
    return Roles(
        known_train,
        np.flatnonzero(test & ~is_new),
        np.flatnonzero(train & is_new),
        np.flatnonzero(test & is_new),
    )


def random_test(labels: Names, share: NDArray[np.float64], rng: np.random.Generator) -> Bool:
    test = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        test[rows[: max(1, round(share[rows[0]] * len(rows)))]] = True
    return test


def long_tail(rows: I64, labels: Names, tail: tuple[int, int], rng: np.random.Generator) -> I64:
    """Rows thinned to head·(tail/head)^(rank/(K−1)) images per class."""
    head, last = tail
    classes = rng.permutation(np.unique(labels))
    kept = []
    for rank, label in enumerate(classes):
        count = round(head * (last / head) ** (rank / (len(classes) - 1)))
        kept.append(rng.permutation(rows[labels == label])[:count])
    return np.concatenate(kept)


def measure(data: DataSet, tail: tuple[int, int] | None, seed: int) -> dict[str, float]:
    """All figures of one seed; shares in percent."""
    rng = np.random.default_rng(seed)
    roles = roles_of(data, tail, rng)
    started = time.process_time()
    recogniser = train_head(data.x[roles.train], data.labels[roles.train].tolist(), TrainConfig(seed=seed))
    seconds = time.process_time() - started
    tested = np.concatenate([roles.test, roles.new_test])
    found = evaluate(recogniser, recogniser.base, data.x[tested], data.labels[tested].tolist())
    by_shot = found.accuracy_by_shot
    figures = {
        "known accuracy": percent(found.accuracy),
        "of many-shot": percent(by_shot["many"]),
        "of medium-shot": percent(by_shot["medium"]),
        "of few-shot": percent(by_shot["few"]),
        "AUROC": percent(found.auroc),
        "FPR at 95 % TPR": percent(found.fpr_at_95_tpr),
        "known accepted": percent(found.known_accepted),
        "new rejected": percent(found.unknown_rejected),
        "F (standard)": percent(found.f_standard),
        "training, CPU seconds": seconds,
    }
    for labels in LABELS:
        figures |= new_classes(data, roles, recogniser, labels, rng)
    return figures


def new_classes(
    data: DataSet, roles: Roles, recogniser: Recogniser, labels: int, rng: np.random.Generator
) -> dict[str, float]:
    """What ``labels`` labels of every new class give, and what they cost the known ones."""
    memory = recogniser.base
    pool = {label: recogniser.embed(data.x[rows]) for label, rows in by_label(data, roles.new_pool)}
    nothing = np.zeros((0, recogniser.space.dim), np.float32)
    started = time.process_time()
    for label, v in pool.items():
        memory = recogniser.revise(memory, label, v[rng.permutation(len(v))[:labels]], nothing)
    live = (time.process_time() - started) / len(pool)
    names = np.array(memory.categories)
    test, new_test = recogniser.embed(data.x[roles.test]), recogniser.embed(data.x[roles.new_test])
    before = recogniser.predict(test, recogniser.base).order[:, 0] == place_of(data.labels[roles.test], names)
    after = recogniser.predict(test, memory).order[:, 0] == place_of(data.labels[roles.test], names)
    found = recogniser.predict(new_test, memory)
    true = place_of(data.labels[roles.new_test], names)
    right = found.order[:, 0] == true
    added = np.arange(len(recogniser.base), len(memory))
    among = added[recogniser.logits(new_test, memory, found.openness)[:, added].argmax(1)] == true
    hit = [right[true == place].any() for place in np.unique(true)]
    head = f"{labels} label{'s' if labels > 1 else ''}: "
    return {
        head + "new accuracy": percent(float(right.mean())),
        head + "among new only": percent(float(among.mean())),
        head + "new classes met": percent(float(np.mean(hit))),
        head + "new accepted as known": percent(float(found.is_known.mean())),
        head + "fall of known accuracy": percent(float(before.mean() - after.mean())),
        head + "CPU ms to make a class live": 1000 * live,
    }


def by_label(data: DataSet, rows: I64) -> Iterator[tuple[str, I64]]:
    for label in np.unique(data.labels[rows]):
        yield str(label), rows[data.labels[rows] == label]


def place_of(labels: Names, names: Names) -> I64:
    places = {name: place for place, name in enumerate(names.tolist())}
    return np.array([places[label] for label in labels.tolist()], np.int64)


def percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def table(title: str, rows: Sequence[dict[str, float]]) -> str:
    """Mean and standard deviation over the seeds, as Markdown."""
    lines = [f"# {title}", "", f"Mean ± standard deviation over {len(rows)} seeds.", ""]
    lines += ["| figure | value |", "| --- | --- |"]
    for figure in rows[0]:
        values = np.array([row[figure] for row in rows])
        if np.isnan(values).all():
            continue
        lines.append(f"| {figure} | {np.nanmean(values):.1f} ± {np.nanstd(values):.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", required=True, help="emoji, a zip with manifest.csv or a folder of class folders"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tail", metavar="HEAD:LAST", help="thin the known classes to this long tail")
    parser.add_argument("--validation", action="store_true", help="known classes only: to choose by")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--out", type=Path, help="folder for head-NAME.md and head-NAME.json")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    data = load(options.data, options.cache)
    if options.validation:
        data = data.validation()
    tail = None
    if options.tail:
        head, last = options.tail.split(":")
        tail = (int(head), int(last))
    rows = []
    for seed in range(options.seeds):
        rows.append(measure(data, tail, seed))
        print(f"seed {seed}: known accuracy {rows[-1]['known accuracy']:.1f}", flush=True)
    name = data.name + ("-long-tail" if tail else "")
    title = f"Head on {data.name}" + (f", long tail {head} … {last} images per class" if tail else "")
    text = table(title, rows)
    print(text)
    if options.out:
        (options.out / f"head-{name}.md").write_text(text, encoding="utf-8")
        figures = {figure: [row[figure] for row in rows] for figure in rows[0]}
        whole = {"data": data.name, "tail": options.tail, "seeds": options.seeds, "figures": figures}
        present = json.dumps(whole, indent=2).replace("NaN", "null")
        (options.out / f"head-{name}.json").write_text(present + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

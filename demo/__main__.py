"""``newfound demo`` = ``python -m demo [play]``; ``newfound up --demo`` runs ``python -m demo create``."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from demo.access import default_url, passing_token
from demo.client import Client
from demo.create import create
from demo.dataset import Dataset, divide
from demo.errors import DemoError
from demo.play import Result, play
from demo.report import as_json, table
from demo.sources import emoji_source, open_source


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] not in (["play"], ["create"], ["-h"], ["--help"]):
        given = ["play", *given]
    options = parser().parse_args(given)
    try:
        options.run(options)
    except DemoError as error:
        print(f"newfound demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line's grammar; each command sets ``run``."""
    whole = argparse.ArgumentParser(
        prog="newfound demo",
        description="Play the annotator on a running service and print what it learnt (the default, play), "
        "or make the demo project (create).",
    )
    commands = whole.add_subparsers(metavar="COMMAND")
    play_ = commands.add_parser("play", help="play the annotator and print the figures")
    play_.add_argument("--seeds", type=_positive, default=1, metavar="N", help="runs, each drawn anew (1)")
    play_.add_argument(
        "--images",
        type=Path,
        metavar="PATH",
        help="pictures of your own: a folder of class folders, a zip of one, or a zip with manifest.csv "
        "(path, label, split). A fifth of the classes is held back as unknown. Default: emoji",
    )
    play_.add_argument(
        "--labels", type=_positive, default=5, metavar="N", help="play until each novel class has N (5)"
    )
    play_.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    play_.set_defaults(run=_play)
    create_ = commands.add_parser("create", help="make the demo project, or finish it")
    create_.set_defaults(run=_create)
    for command in (play_, create_):
        command.add_argument("--url", help="the service; default: the one on this machine")
        command.add_argument("--token", help="an API token; default: a passing one, on this machine only")
    return whole


def _play(options: argparse.Namespace) -> None:
    if options.json:
        _require_writable(options.json)
    source = open_source(options.images)
    for note in source.notes:
        _say(note)
    divisions = [divide(source, seed) for seed in range(options.seeds)]
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    results: list[Result] = []
    try:
        with _connected(options) as client:
            for seed, dataset in enumerate(divisions):
                _say(f"Seed {seed}: {source.name}")
                name = f"Demo run {started}, {source.name}, seed {seed}"
                results.append(play(client, dataset, seed, options.labels, name, _say))
    finally:
        # Whatever ends a long run, the seeds that were played to their end are told.
        if results:
            _tell(divisions[0], results, options)


def _tell(dataset: Dataset, results: Sequence[Result], options: argparse.Namespace) -> None:
    print(table(dataset, results, options.labels))
    if options.json:
        figures = as_json(dataset, results, options.labels)
        options.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _create(options: argparse.Namespace) -> None:
    with _connected(options) as client:
        create(client, emoji_source(), _say)


def _require_writable(file: Path) -> None:
    """Raise before the work rather than after it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a", encoding="utf-8").close()
    except OSError as error:
        raise DemoError(f"--json {file} cannot be written: {error.strerror}.") from error


@contextmanager
def _connected(options: argparse.Namespace) -> Iterator[Client]:
    url = options.url or default_url()
    if options.token:
        with Client(url, options.token) as client:
            yield client
    elif options.url:
        raise DemoError("--url needs --token: make one on the service's account page.")
    else:
        with passing_token() as token, Client(url, token) as client:
            yield client


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give a number from 1 up")
    return number


def _say(text: str) -> None:
    # Figures go to stdout, the story to stderr, so that a table can be piped.
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

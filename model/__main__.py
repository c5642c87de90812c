"""The library by itself: ``python -m model train DIR OUT``, ``predict OUT PATH…``, ``evaluate OUT DIR``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from model.arrays import F32
from model.backbones import WeightsError
from model.data import DataError, LabelledFile, extract_features, labelled_files, split
from model.evaluate import evaluate
from model.recogniser import CheckpointError, Recogniser
from model.runtime import Extractor, load_extractor
from model.scores import known_by_probability
from model.train import TrainConfig, train_head


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with a message on stderr otherwise."""
    options = _parser().parse_args(arguments)
    try:
        command = {"train": _train, "predict": _predict, "evaluate": _evaluate}[options.command]
        command(options, load_extractor(options.device, threads=options.threads))
    except (CheckpointError, DataError, WeightsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    shared.add_argument("--threads", type=int, default=2, help="CPU threads of the backbone (default: 2)")
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", parents=[shared], help="learn from a folder of class folders")
    train.add_argument("folder", type=Path)
    train.add_argument("checkpoint", type=Path, help="folder to write")
    train.add_argument("--hold-out", type=_share, default=0.0, help="share of each class not trained on")
    train.add_argument("--seed", type=int, default=0)

    predict = commands.add_parser("predict", parents=[shared], help="recognise pictures")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("paths", type=Path, nargs="+")
    predict.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    predict.add_argument("--mode", choices=["score", "probability"], default="score")
    predict.add_argument("--tau", type=float, default=0.1, help="cut of --mode probability (default: 0.1)")

    measure = commands.add_parser("evaluate", parents=[shared], help="measure on a folder of class folders")
    measure.add_argument("checkpoint", type=Path)
    measure.add_argument("folder", type=Path, help="class folders unknown to the checkpoint count as open")
    measure.add_argument(
        "--hold-out",
        type=_share,
        default=None,
        help="measure the known classes on the images that train --hold-out kept back",
    )
    measure.add_argument("--shot-rule", choices=["table", "text"], default="table")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be at least 0 and below 1")
    return value


def _train(options: argparse.Namespace, extractor: Extractor) -> None:
    files, _ = split(labelled_files(options.folder), options.hold_out)
    x, labels = _features(files, extractor)
    if not labels:
        raise DataError(f"No file in {options.folder} is a readable picture.")
    recogniser = train_head(x, labels, TrainConfig(seed=options.seed), progress=_show_progress)
    recogniser.save(options.checkpoint)
    print(f"{len(labels)} images of {len(recogniser.base)} classes: {options.checkpoint}")
    print(f"called new from {recogniser.threshold.score} {recogniser.threshold.value:.3f} up ", end="")
    print(f"({recogniser.threshold.rule})")


def _predict(options: argparse.Namespace, extractor: Extractor) -> None:
    recogniser = Recogniser.load(options.checkpoint)
    features = extract_features(options.paths, extractor)
    memory = recogniser.base
    found = recogniser.predict(recogniser.embed(features.x), memory)
    is_known = found.is_known
    if options.mode == "probability":
        is_known = known_by_probability(found.probabilities.max(1, initial=0.0), options.tau, len(memory))
    answers: dict[Path, dict[str, object]] = {
        path: {"path": str(path), "error": problem} for path, problem in features.problems.items()
    }
    for n, place in enumerate(features.places):
        top = zip(found.order[n], found.probabilities[n], strict=True)
        answers[options.paths[place]] = {
            "path": str(options.paths[place]),
            "is_known": bool(is_known[n]),
            "unknown_score": round(float(found.unknown_score[n]), 4),
            "openness": round(float(found.openness[n]), 4),
            "informativeness": round(float(found.informativeness[n]), 4),
            "free_energy": round(float(found.free_energy[n]), 4),
            "top": [
                {"category": memory.categories[k], "probability": round(float(share), 4)} for k, share in top
            ],
        }
    ordered = [answers[path] for path in options.paths]
    if options.json:
        print(json.dumps(ordered, indent=2, ensure_ascii=False))
    else:
        for answer in ordered:
            print(_line(answer))


def _line(answer: dict[str, object]) -> str:
    if "error" in answer:
        return f"{answer['path']}: {answer['error']}"
    top = answer["top"]
    assert isinstance(top, list)
    nearest = ", ".join(f"{entry['category']} {entry['probability']:.2f}" for entry in top)
    verdict = "known" if answer["is_known"] else "new"
    return f"{answer['path']}: {verdict} (unknown score {answer['unknown_score']}); {nearest or 'no classes'}"


def _evaluate(options: argparse.Namespace, extractor: Extractor) -> None:
    recogniser = Recogniser.load(options.checkpoint)
    files = labelled_files(options.folder)
    if options.hold_out is not None:
        known = [file for file in files if file.category in recogniser.base.categories]
        unknown = [file for file in files if file.category not in recogniser.base.categories]
        files = split(known, options.hold_out)[1] + unknown
    x, labels = _features(files, extractor)
    result = evaluate(recogniser, recogniser.base, x, labels, shot_rule=options.shot_rule)
    print(json.dumps(result.as_dict(), indent=2))


def _features(files: Sequence[LabelledFile], extractor: Extractor) -> tuple[F32, list[str]]:
    features = extract_features([file.path for file in files], extractor)
    for path, problem in features.problems.items():
        print(f"passed over {path}: {problem}", file=sys.stderr)
    return features.x, [files[place].category for place in features.places]


def _show_progress(step: int, steps: int, loss: float) -> None:
    if step % 200 == 0 or step == steps:
        print(f"step {step}/{steps}, loss {loss:.3f}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

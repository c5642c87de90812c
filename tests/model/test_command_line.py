"""``python -m model`` on real files, and the library without the rest of the service."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.__main__ import main

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}


def draw(folder: Path, name: str, count: int, seed: int) -> None:
    """Discs of one colour: easy, but through the whole path of a photograph."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    y, x = np.mgrid[0:64, 0:64]
    for n in range(count):
        pixels = np.full((64, 64, 3), 240, np.uint8)
        centre, radius = rng.integers(24, 40, 2), rng.integers(12, 22)
        pixels[np.hypot(y - centre[0], x - centre[1]) < radius] = COLOURS[name]
        Image.fromarray(pixels).save(folder / name / f"{n}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    for seed, name in enumerate(("red", "green")):
        draw(folder, name, 8, seed)
    return folder


@dataclass(frozen=True)
class Trained:
    checkpoint: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One training run for all tests, with a torn file among the pictures."""
    checkpoint = tmp_path_factory.mktemp("model") / "version"
    # By its name this one falls to the images trained on, not to those held out.
    torn = folder / "red" / "cut.png"
    torn.write_bytes(b"no picture")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main(["train", str(folder), str(checkpoint), "--hold-out", "0.25", "--device", "cpu"]) == 0
    torn.unlink()
    return Trained(checkpoint, out.getvalue(), err.getvalue())


@pytest.fixture
def checkpoint(trained: Trained) -> Path:
    return trained.checkpoint


class TestTrain:
    def test_says_what_it_made(self, trained: Trained) -> None:
        assert "images of 2 classes" in trained.out
        assert "held-out known images accepted" in trained.out
        assert "step 800/800" in trained.err

    def test_names_what_it_passed_over(self, trained: Trained) -> None:
        assert "cut.png" in trained.err

    def test_a_missing_folder_is_one_clear_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train", str(tmp_path / "absent"), str(tmp_path / "out"), "--device", "cpu"]) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("error:")
        assert "absent" in shown
        assert "Traceback" not in shown

    def test_a_folder_without_a_readable_picture_is_an_error(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "red").mkdir()
        (tmp_path / "red" / "a.jpg").write_text("hello")
        assert main(["train", str(tmp_path), str(tmp_path / "out"), "--device", "cpu"]) == 1
        assert "readable picture" in capsys.readouterr().err


class TestPredict:
    def test_json_keeps_the_order_and_names_the_bad_file(
        self, folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        torn = tmp_path / "torn.png"
        torn.write_bytes(b"no picture")
        red, green = folder / "red" / "0.png", folder / "green" / "0.png"
        arguments = [str(red), str(torn), str(green)]
        assert main(["predict", str(checkpoint), *arguments, "--json", "--device", "cpu"]) == 0
        answers = json.loads(capsys.readouterr().out)
        assert [answer["path"] for answer in answers] == arguments
        assert answers[0]["top"][0]["category"] == "red"
        assert answers[2]["top"][0]["category"] == "green"
        assert "error" in answers[1]
        assert set(answers[0]) == {
            "path",
            "is_known",
            "unknown_score",
            "openness",
            "informativeness",
            "free_energy",
            "top",
        }

    def test_lines_for_people(
        self, folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["predict", str(checkpoint), str(folder / "red" / "0.png"), "--device", "cpu"]) == 0
        assert "red" in capsys.readouterr().out

    def test_probability_mode_warns_when_it_can_reject_nothing(self, folder: Path, checkpoint: Path) -> None:
        paths = [str(checkpoint), str(folder / "red" / "0.png")]
        with pytest.warns(UserWarning, match="rejects nothing with 2 classes"):
            main(["predict", *paths, "--mode", "probability", "--tau", "0.4", "--device", "cpu"])

    def test_a_missing_checkpoint_is_one_clear_line(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["predict", str(tmp_path), str(folder / "red" / "0.png"), "--device", "cpu"]) == 1
        assert "no readable recogniser" in capsys.readouterr().err


class TestEvaluate:
    def test_measures_held_out_known_and_unknown_classes(
        self, folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("red", "green"):
            (tmp_path / name).symlink_to(folder / name)
        draw(tmp_path, "blue", 5, 9)
        assert (
            main(["evaluate", str(checkpoint), str(tmp_path), "--hold-out", "0.25", "--device", "cpu"]) == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert (found["images"], found["images_unknown"]) == (4, 5)
        assert found["accuracy"] == 1.0
        assert found["accuracy_by_shot"] == {"few": 1.0, "medium": None, "many": None}
        assert found["auroc"] > 0.8
        assert 0 <= found["f_standard"] <= 1


class TestAlone:
    def test_works_without_web_and_database_packages(self) -> None:
        """Blocking an import is the only proof that nothing below needs it."""
        script = """
import importlib, pkgutil, sys
for name in ("fastapi", "starlette", "sqlalchemy", "celery", "redis", "pydantic", "server", "worker"):
    sys.modules[name] = None
import model
for module in pkgutil.walk_packages(model.__path__, "model."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
        subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)

    @pytest.mark.parametrize("module", ["model", "model.images", "model.recogniser", "model.exploration"])
    def test_inference_loads_no_torch(self, module: str) -> None:
        script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)

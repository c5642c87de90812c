"""The rules of the house: who may import whom, one history of the database, documents that match the code."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import migrations
from server.settings import Settings

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "onnxruntime", "sklearn", "scipy")


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh Python has loaded after ``statement``."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    return set(run_python("-c", code).stdout.split())


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class TestImports:
    def test_the_contracts_hold(self) -> None:
        code = (
            "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
        )
        assert "0 broken" in run_python("-c", code).stdout

    @pytest.mark.parametrize("module", ["server.app", "server.cli", "server.jobs"])
    def test_the_web_process_loads_no_network_library(self, module: str) -> None:
        loaded = loaded_by(f"import {module}")
        assert not loaded & {*HEAVY, "worker", "demo"}
        assert {name for name in loaded if name.startswith("model.")} <= {"model.images"}

    def test_the_worker_loads_no_pages(self) -> None:
        loaded = loaded_by("import worker.tasks")
        assert not loaded & {"fastapi", "starlette", "uvicorn", "jinja2", "annotation_ui", "server.app"}


class TestMigrations:
    def test_history_has_one_head(self) -> None:
        scripts = ScriptDirectory.from_config(migrations.config_for(""))
        assert len(scripts.get_heads()) == 1


class TestDocuments:
    def test_every_setting_is_in_the_readme(self) -> None:
        rows = re.findall(r"^\| `NEWFOUND_(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
        assert sorted(rows) == sorted(name.upper() for name in Settings.model_fields)

    def test_make_tells_of_every_target(self) -> None:
        text = (ROOT / "Makefile").read_text()
        phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
        assert phony
        told = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"^  make ([\w-]+) ", told, re.MULTILINE) == phony[1].split()

    def test_ci_makes_what_a_developer_makes(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        assert script.read_text().rstrip().endswith("make --no-print-directory test")


class TestSetUp:
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "scripts" / "set_up.py")
    assert spec
    assert spec.loader
    set_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(set_up)

    @pytest.mark.parametrize(
        ("known", "wanted", "expected"),
        [
            ({"base": "b", "requirements": "r", "extras": ["demo", "dev"]}, ["demo"], True),
            ({"base": "b", "requirements": "r", "extras": ["demo"]}, ["demo", "dev"], False),
            ({"base": "b", "requirements": "older", "extras": ["demo"]}, ["demo"], False),
            ({"base": "moved", "requirements": "r", "extras": ["demo"]}, ["demo"], False),
            ({}, [], False),
        ],
    )
    def test_is_up_to_date(self, known: dict[str, object], wanted: list[str], expected: bool) -> None:
        assert self.set_up.is_up_to_date(known, "b", "r", wanted) is expected

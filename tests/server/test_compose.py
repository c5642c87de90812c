"""docker-compose.yml and Dockerfile, held to the Compose schema and to our own command line and settings."""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server import cli
from server.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
# Name of each attribute that we use → its types, after the Compose specification.
SCHEMA: dict[str, tuple[type, ...]] = {
    "build": (dict,),
    "command": (list,),
    "depends_on": (dict,),
    "deploy": (dict,),
    "environment": (dict,),
    "healthcheck": (dict,),
    "image": (str,),
    "ports": (list,),
    "profiles": (list,),
    "restart": (str,),
    "security_opt": (list,),
    "shm_size": (str,),
    "stop_grace_period": (str,),
    "volumes": (list,),
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
# Two dollars stand for a plain one.
INTERPOLATION = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
DURATION = re.compile(r"(\d+(h|m|s|ms))+")
each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def variables(text: str) -> Iterator[tuple[str, str]]:
    """Name and rest (``:-default``, ``:?message``) of every interpolated variable."""
    yield from re.findall(INTERPOLATION, text)


def pinned(image: str) -> bool:
    """Whether a reference names one version: at least major and minor."""
    return bool(re.search(r":v?\d+\.\d+[\w.-]*$", image))


class TestSchema:
    def test_top_level(self) -> None:
        known = {"name", "services", "volumes"}
        assert {key for key in COMPOSE if not key.startswith("x-")} == known

    @each_service
    def test_attributes_have_the_types_of_the_specification(self, name: str) -> None:
        for attribute, value in SERVICES[name].items():
            assert isinstance(value, SCHEMA[attribute]), attribute

    @each_service
    def test_environment_is_text(self, name: str) -> None:
        assert all(isinstance(value, str) for value in SERVICES[name].get("environment", {}).values())

    @each_service
    def test_depends_on_services_that_exist_and_can_meet_the_condition(self, name: str) -> None:
        for other, how in SERVICES[name].get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"

    @each_service
    def test_named_volumes_are_declared(self, name: str) -> None:
        for volume in SERVICES[name].get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]

    @each_service
    def test_health_checks_are_complete(self, name: str) -> None:
        if name in ("migrate", "beat"):
            # One ends by itself, the other does nothing but run.
            assert "healthcheck" not in SERVICES[name]
            return
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert all(isinstance(part, str) for part in check["test"])
        for key in ("interval", "timeout"):
            assert DURATION.fullmatch(check[key])

    @each_service
    def test_images_are_pinned(self, name: str) -> None:
        assert pinned(SERVICES[name]["image"])

    @pytest.mark.parametrize(
        ("image", "expected"),
        [("redis", False), ("redis:latest", False), ("redis:7", False), ("redis:7.2.7-alpine", True)],
    )
    def test_pinned(self, image: str, expected: bool) -> None:
        assert pinned(image) is expected

    def test_gpu_workers_start_only_when_asked_for(self) -> None:
        assert {name for name in SERVICES if SERVICES[name].get("profiles")} == {"worker-gpu", "train-gpu"}
        for name in ("worker-gpu", "train-gpu"):
            devices = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
            assert devices[0]["capabilities"] == ["gpu"]

    @pytest.mark.parametrize("text", [COMPOSE_TEXT, (ROOT / "docs/operations.md").read_text()])
    def test_the_command_for_a_gpu_leaves_no_worker_of_another_device(self, text: str) -> None:
        command = next(line for line in text.splitlines() if "--profile gpu" in line)
        scaled = set(re.findall(r"--scale (\w+)=0", command))
        workers = {name for name in OURS if OURS[name]["command"][0] == "worker" and name not in scaled}
        assert {OURS[name]["environment"]["NEWFOUND_DEVICE"] for name in workers} == {"cuda"}
        assert {OURS[name]["command"][-1] for name in workers} == {"score", "train"}


class TestOurProcesses:
    def test_every_process_is_there(self) -> None:
        assert set(OURS) == {"migrate", "api", "worker", "worker-gpu", "train", "train-gpu", "beat"}

    @each_of_ours
    def test_command_exists(self, name: str) -> None:
        parsed = cli.parser().parse_args(OURS[name]["command"])
        assert callable(parsed.run)

    @each_of_ours
    def test_health_check_command_exists(self, name: str) -> None:
        check = OURS[name].get("healthcheck", {}).get("test", [])
        if "newfound" in check:
            parsed = cli.parser().parse_args(check[check.index("newfound") + 1 :])
            assert parsed.run is cli.ping
            assert parsed.queue in OURS[name]["command"]

    @each_of_ours
    def test_variables_are_settings_with_valid_values(self, name: str) -> None:
        values = {
            key.removeprefix("NEWFOUND_").lower(): re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
            for key, value in OURS[name]["environment"].items()
        }
        assert all(key.startswith("NEWFOUND_") for key in OURS[name]["environment"])
        assert set(values) <= set(Settings.model_fields)
        Settings(**values).require_services()

    @each_of_ours
    def test_shares_the_state(self, name: str) -> None:
        home = OURS[name]["environment"]["NEWFOUND_HOME"]
        assert f"state:{home}" in OURS[name]["volumes"]

    def test_web_process_is_reachable_from_its_own_machine_only(self) -> None:
        assert [port.split(":")[0] for port in OURS["api"]["ports"]] == ["127.0.0.1"]

    def test_train_worker_is_apart_from_the_scoring_worker(self) -> None:
        queues = {name: cli.parser().parse_args(OURS[name]["command"]).queue for name in ("worker", "train")}
        assert queues == {"worker": "score", "train": "train"}


class TestSecrets:
    def test_every_interpolated_setting_exists(self) -> None:
        ours = {name for name, _ in variables(COMPOSE_TEXT) if name.startswith("NEWFOUND_")}
        assert {name.removeprefix("NEWFOUND_").lower() for name in ours} <= set(Settings.model_fields)

    def test_no_secret_has_a_default(self) -> None:
        secrets = [(name, rest) for name, rest in variables(COMPOSE_TEXT) if "PASSWORD" in name]
        assert {name for name, _ in secrets} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
        assert all(rest.startswith(":?") and len(rest) > 2 for _, rest in secrets)

    @each_service
    def test_no_secret_is_written_down(self, name: str) -> None:
        for key, value in SERVICES[name].get("environment", {}).items():
            if "PASSWORD" in key or "AUTH" in key:
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)
            assert not re.search(r"://[^/@]*:[^/@]+@", INTERPOLATION.sub("", value))


class TestDockerfile:
    def test_base_image_is_pinned_and_new_enough(self) -> None:
        image = re.search(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)
        assert image
        assert pinned(image[1])
        minor = re.search(r"python:3\.(\d+)", image[1])
        assert minor
        assert int(minor[1]) >= 11

    def test_does_not_run_as_root(self) -> None:
        assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["newfound"]

    def test_copies_every_package(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        include = project["tool"]["setuptools"]["packages"]["find"]["include"]
        packages = {pattern.rstrip("*") for pattern in include}
        copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
        assert copied == packages
        ignored = (ROOT / ".dockerignore").read_text().split()
        assert {f"!{package}" for package in packages} <= set(ignored)

    def test_entry_point_is_the_command(self) -> None:
        assert 'ENTRYPOINT ["newfound"]' in DOCKERFILE
        assert isinstance(cli.parser().parse_args(["up"]), argparse.Namespace)

    def test_its_settings_exist(self) -> None:
        names = re.findall(r"NEWFOUND_(\w+)=", DOCKERFILE)
        assert {name.lower() for name in names} <= set(Settings.model_fields)
        assert "HOME" in names

"""The command line: what it says when it cannot go on. Nothing here reaches a service."""

from pathlib import Path

import pytest

from demo.__main__ import main


class TestMain:
    def test_a_missing_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--images", str(tmp_path / "gone")]) == 1
        assert (
            capsys.readouterr()
            .err.strip()
            .endswith("gone does not exist. Give a folder of class folders, or a zip of one.")
        )

    def test_a_foreign_service_needs_a_token(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["create", "--url", "http://127.0.0.1:9"]) == 1
        assert "--url needs --token" in capsys.readouterr().err

    def test_no_service_at_the_address(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["play", "--url", "http://127.0.0.1:9", "--token", "nf_x"]) == 1
        assert "Start it with `newfound up`" in capsys.readouterr().err

    def test_no_service_on_this_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from server.settings import get_settings

        for name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(f"NEWFOUND_{name}", raising=False)
        monkeypatch.setenv("NEWFOUND_HOME", str(tmp_path / "home"))
        get_settings.cache_clear()
        assert main(["create"]) == 1
        get_settings.cache_clear()
        assert "No service runs here. Start it with `newfound up`" in capsys.readouterr().err

    def test_figures_that_could_not_be_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--json", str(tmp_path), "--url", "http://127.0.0.1:9", "--token", "nf_x"]) == 1
        assert "cannot be written: Is a directory." in capsys.readouterr().err

    @pytest.mark.parametrize("count", ["0", "-1"])
    def test_at_least_one_seed(self, count: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--seeds", count])
        assert "give a number from 1 up" in capsys.readouterr().err

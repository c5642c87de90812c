"""Folders of class folders: what is read, what is passed over, what is held out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data import BATCH, DataError, LabelledFile, extract_features, labelled_files, split
from model.runtime import Extractor, load_extractor


def picture(path: Path, colour: tuple[int, int, int] = (10, 200, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return load_extractor("cpu", cache_dir=tmp_path_factory.mktemp("graph"))


class TestLabelledFiles:
    def test_the_class_is_the_first_folder(self, tmp_path: Path) -> None:
        picture(tmp_path / "lynx" / "a.png")
        picture(tmp_path / "lynx" / "night" / "b.png")
        picture(tmp_path / "hare" / "c.png")
        found = [(file.category, file.path.name) for file in labelled_files(tmp_path)]
        assert found == [("hare", "c.png"), ("lynx", "a.png"), ("lynx", "b.png")]

    def test_leftovers_of_other_systems_are_passed_over(self, tmp_path: Path) -> None:
        picture(tmp_path / "lynx" / "a.png")
        for leftover in (
            "lynx/.DS_Store",
            "lynx/._a.png",
            "__MACOSX/lynx/a.png",
            ".hidden/a.png",
            "loose.png",
        ):
            (tmp_path / leftover).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / leftover).write_bytes(b"x")
        assert [file.path.name for file in labelled_files(tmp_path)] == ["a.png"]

    def test_a_folder_without_classes_is_named(self, tmp_path: Path) -> None:
        picture(tmp_path / "loose.png")
        with pytest.raises(DataError, match="no class folder"):
            labelled_files(tmp_path)
        with pytest.raises(DataError, match="is no folder"):
            labelled_files(tmp_path / "absent")


class TestSplit:
    def files(self, **counts: int) -> list[LabelledFile]:
        return [
            LabelledFile(Path(f"{name}/{n}.png"), name)
            for name, count in counts.items()
            for n in range(count)
        ]

    def test_holds_back_a_share_of_each_class(self) -> None:
        keep, back = split(self.files(lynx=10, hare=5, owl=1), 0.2)
        assert sorted(file.category for file in back) == ["hare", "lynx", "lynx"]
        assert len(keep) == 13
        assert not set(keep) & set(back)

    def test_is_the_same_wherever_the_folder_lies_and_in_any_order(self) -> None:
        files = self.files(lynx=10)
        moved = [LabelledFile(Path("elsewhere") / file.path, file.category) for file in reversed(files)]
        assert {file.path.name for file in split(files, 0.3)[1]} == {
            file.path.name for file in split(moved, 0.3)[1]
        }


class TestExtractFeatures:
    def test_one_bad_file_costs_only_itself(self, tmp_path: Path, extractor: Extractor) -> None:
        good = [picture(tmp_path / f"{n}.png", (n, 3 * n, 90)) for n in range(BATCH + 2)]
        torn = tmp_path / "torn.jpg"
        torn.write_bytes(b"no picture")
        paths = [good[0], torn, *good[1:], tmp_path / "absent.png"]
        seen: list[tuple[int, int]] = []
        found = extract_features(paths, extractor, lambda done, total: seen.append((done, total)))
        assert found.x.shape == (BATCH + 2, extractor.dim)
        assert [paths[place] for place in found.places] == good
        assert set(found.problems) == {torn, tmp_path / "absent.png"}
        assert all(found.problems.values())
        assert seen[-1] == (len(paths) - 1, len(paths))

    def test_rows_belong_to_their_files(self, tmp_path: Path, extractor: Extractor) -> None:
        paths = [picture(tmp_path / f"{n}.png", (25 * n, 255 - 25 * n, 90)) for n in range(BATCH + 1)]
        together = extract_features(paths, extractor).x
        alone = extract_features(paths[-1:], extractor).x
        np.testing.assert_allclose(together[-1:], alone, atol=1e-4)

    def test_nothing_to_read(self, extractor: Extractor) -> None:
        assert extract_features([], extractor).x.shape == (0, extractor.dim)

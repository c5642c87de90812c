"""Reading emoji, folders of class folders and zips; what is left out is said."""

import io
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from demo.emoji import KNOWN, NOVEL, emoji, entries
from demo.errors import DemoError
from demo.sources import Example, held_back, open_source, short_titles


def picture(shade: int) -> bytes:
    """A small PNG; another shade gives other bytes."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 255 - shade, shade // 2)).save(stream, "PNG")
    return stream.getvalue()


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def three_classes() -> list[tuple[str, bytes]]:
    return [
        (f"{name}/{at}.png", picture(10 * at + shift)) for shift, name in enumerate("abc") for at in range(5)
    ]


class TestEmoji:
    def test_each_emoji_is_in_one_class(self) -> None:
        assert max(Counter(one.file for one in emoji()).values()) == 1

    def test_every_named_exception_exists(self) -> None:
        names = {entry["short_name"] for entry in entries()}
        for look in (KNOWN | NOVEL).values():
            assert look.without | look.plus <= names

    def test_an_exception_belongs_to_the_rule_that_it_narrows(self) -> None:
        place = {entry["short_name"]: entry["subcategory"] for entry in entries()}
        for look in (KNOWN | NOVEL).values():
            assert all(place[name] in look.subcategories for name in look.without)
            assert all(place[name] not in look.subcategories for name in look.plus)

    def test_nineteen_known_classes_have_a_long_tail(self) -> None:
        counts = Counter(one.category for one in emoji())
        known = sorted((counts[name] for name in KNOWN), reverse=True)
        assert len(known) == 19
        assert sum(known) > 850
        assert known[0] > 20 * known[-1]
        assert known[-1] >= 8

    def test_each_novel_class_has_five_to_label_and_five_to_test(self) -> None:
        counts = Counter(one.category for one in emoji())
        assert len(NOVEL) == 6
        assert min(counts[name] for name in NOVEL) >= 10

    def test_a_face_is_a_face_and_an_hourglass_is_no_clock(self) -> None:
        found = {one.short_name: one.category for one in emoji()}
        assert found["grinning"] == "face"
        assert found["clock3"] == "clock"
        assert found["de"] == "flag"
        assert "hourglass" not in found


class TestFolder:
    def test_the_class_is_the_folder_directly_above(self, tmp_path: Path) -> None:
        for name, content in three_classes():
            file = tmp_path / "set" / "deep" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        source = open_source(tmp_path / "set")
        assert source.name == "set"
        assert Counter(one.category for one in source.examples) == {"a": 5, "b": 5, "c": 5}
        assert source.read("deep/a/0.png") == picture(0)

    def test_what_is_no_picture_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1.PNG").write_bytes(picture(1))
        (tmp_path / "a" / "notes.txt").write_text("hello")
        (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
        (tmp_path / "a" / "._1.png").write_bytes(b"x")
        assert [one.path for one in open_source(tmp_path).examples] == ["a/1.PNG"]

    def test_a_picture_outside_class_folders_is_left_out_and_said(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1.png").write_bytes(picture(1))
        (tmp_path / "2.png").write_bytes(picture(2))
        source = open_source(tmp_path)
        assert len(source.examples) == 1
        assert source.notes == ("1 pictures lie in no class folder and were left out.",)

    def test_an_empty_folder_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(DemoError, match="into a folder of its name"):
            open_source(tmp_path)

    def test_a_path_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DemoError, match=r"nowhere does not exist"):
            open_source(tmp_path / "nowhere")


class TestZip:
    def test_class_folders(self, tmp_path: Path) -> None:
        source = open_source(write_zip(tmp_path / "mine.zip", [*three_classes(), ("__MACOSX/a/x.png", b"x")]))
        assert source.name == "mine"
        assert len(source.examples) == 15
        assert source.read("b/2.png") == picture(21)

    def test_backslashes_between_folders(self, tmp_path: Path) -> None:
        source = open_source(write_zip(tmp_path / "windows.zip", [("set\\cat\\1.png", picture(1))]))
        assert [one.category for one in source.examples] == ["cat"]

    def test_a_file_that_is_no_zip(self, tmp_path: Path) -> None:
        (tmp_path / "broken.zip").write_bytes(b"PK nothing")
        with pytest.raises(DemoError, match="not a zip that can be read"):
            open_source(tmp_path / "broken.zip")

    def test_names_that_differ_only_in_case_are_one_class(self, tmp_path: Path) -> None:
        members = [("Cat/1.png", picture(1)), ("cat/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "case.zip", members))
        assert {one.category for one in source.examples} == {"Cat"}

    def test_a_macs_decomposed_letters_are_composed(self, tmp_path: Path) -> None:
        members = [("Ma\u0308use /1.png", picture(1)), ("M\u00e4use/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "mac.zip", members))
        assert {one.category for one in source.examples} == {"M\u00e4use"}


class TestManifest:
    def test_labels_and_splits(self, tmp_path: Path) -> None:
        rows = "path,split,label\r\nx/1.png,train,Fruit/Pear\r\nx/2.png,test,Fruit/Plum\r\n"
        members = [("manifest.csv", rows.encode()), ("x/1.png", picture(1)), ("x/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "listed.zip", members))
        assert source.examples == (Example("x/1.png", "Pear", "train"), Example("x/2.png", "Plum", "test"))

    def test_a_row_without_picture_or_label_is_left_out_and_said(self, tmp_path: Path) -> None:
        rows = "path,label\nx/1.png,Pear\nx/gone.png,Pear\nx/2.png,\n"
        members = [("manifest.csv", rows.encode()), ("x/1.png", picture(1)), ("x/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "listed.zip", members))
        assert len(source.examples) == 1
        assert source.notes == ("2 rows of manifest.csv have no picture or no label.",)

    @pytest.mark.parametrize("manifest", [b"", b"file,class\n1.png,a\n", b"path,label\n"])
    def test_a_manifest_without_its_columns(self, tmp_path: Path, manifest: bytes) -> None:
        with pytest.raises(DemoError, match="needs the columns path and label"):
            open_source(write_zip(tmp_path / "bad.zip", [("manifest.csv", manifest)]))

    def test_a_manifest_that_is_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(DemoError, match="UTF-8"):
            open_source(write_zip(tmp_path / "bad.zip", [("manifest.csv", b"path,label\n\xff\xfe,a\n")]))


class TestSameBytes:
    def test_a_repeated_picture_is_kept_once(self, tmp_path: Path) -> None:
        members = [("a/1.png", picture(1)), ("a/again.png", picture(1)), ("b/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "twice.zip", members))
        assert [one.path for one in source.examples] == ["a/1.png", "b/2.png"]
        assert source.notes == ("1 pictures repeat the bytes of another one and were left out.",)

    def test_a_picture_in_two_classes_has_no_truth(self, tmp_path: Path) -> None:
        members = [("a/1.png", picture(1)), ("b/1.png", picture(1)), ("b/2.png", picture(2))]
        source = open_source(write_zip(tmp_path / "torn.zip", members))
        assert [one.path for one in source.examples] == ["b/2.png"]
        assert source.notes == ("2 pictures lie in two classes with the same bytes and were left out.",)


class TestTitles:
    def test_the_last_part_where_it_tells_labels_apart(self) -> None:
        labels = ["Fruit/Pear/Anjou", "Mushroom/Brown", "Onion/Brown", "Brown"]
        assert short_titles(labels) == {
            "Fruit/Pear/Anjou": "Anjou",
            "Mushroom/Brown": "Mushroom Brown",
            "Onion/Brown": "Onion Brown",
            "Brown": "Brown",
        }


class TestHeldBack:
    def test_a_fifth_by_digest(self) -> None:
        # sha1("c") = 84a5…, sha1("a") = 86f7…, sha1("b") = e9d7…: "b" sorts last.
        assert held_back(["a", "b", "c"]) == {"b"}

    def test_at_least_one(self) -> None:
        assert held_back(["a"]) == {"a"}
        assert len(held_back([str(number) for number in range(81)])) == 16

"""File names from outside: one form, nothing unseen, nobody's clutter."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.batches.names import MAX_NAME, class_folder, clean_name, is_clutter, numbered


class TestCleanName:
    @pytest.mark.parametrize(
        ("raw", "clean"),
        [
            ("a.png", "a.png"),
            ("CAM1\\IMG_1.png", "CAM1/IMG_1.png"),
            ("../../etc/passwd.png", "etc/passwd.png"),
            ("/abs/a.png", "abs/a.png"),
            ("C:\\Users\\a.png", "Users/a.png"),
            ("C:/a.png", "a.png"),
            ("./x//y/./a.png", "x/y/a.png"),
            (" lynx /a.png ", "lynx/a.png"),
            ("a\nb.png", "a\N{REPLACEMENT CHARACTER}b.png"),
            ("gpj\u202egnp.png", "gpj\N{REPLACEMENT CHARACTER}gnp.png"),
            ("<img src=x>.png", "<img src=x>.png"),
            ("..", "unnamed"),
            ("", "unnamed"),
        ],
    )
    def test_examples(self, raw, clean):
        assert clean_name(raw) == clean

    def test_two_unicode_forms_are_one_name(self):
        assert clean_name(unicodedata.normalize("NFD", "élan/ü.png")) == "élan/ü.png"

    def test_a_long_name_keeps_its_folder_and_its_extension(self):
        name = clean_name("lynx/" + "x" * 5000 + ".png")
        assert len(name) <= MAX_NAME
        assert name.startswith("lynx/x")
        assert name.endswith("x.png")

    def test_deep_folders_keep_the_one_that_names_the_class(self):
        name = clean_name("/".join(["folder" * 20] * 9) + "/lynx/a.png")
        assert len(name) <= MAX_NAME
        assert name.startswith("…/folder")
        assert class_folder(name) == "lynx"

    def test_a_folder_of_any_length_is_still_the_folder(self):
        folder = class_folder(clean_name("y" * 5000 + "/" + "x" * 5000))
        assert len(folder) > 100
        assert folder.startswith("yy")

    @given(st.text())
    def test_any_text_gives_a_short_relative_path_and_is_clean_at_once(self, raw):
        name = clean_name(raw)
        assert 0 < len(name) <= MAX_NAME
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert "\0" not in name
        name.encode("utf-8")


class TestClutter:
    @pytest.mark.parametrize(
        "name",
        [
            "__MACOSX/trip/._a.png",
            "trip/.DS_Store",
            "trip/._c.png",
            "x/.ipynb_checkpoints/a-checkpoint.png",
            "Thumbs.db",
            "photos/thumbs.DB",
            "desktop.ini",
            "@eaDir/a.png",
        ],
    )
    def test_is_passed_over(self, name):
        assert is_clutter(name)

    @pytest.mark.parametrize("name", ["a.png", "DS_Store/a.png", "macosx/a.png", "a.b/c.png"])
    def test_pictures_are_not(self, name):
        assert not is_clutter(name)


@pytest.mark.parametrize(
    ("name", "folder"), [("a.png", None), ("lynx/a.png", "lynx"), ("x/y/z/lynx/a.png", "lynx")]
)
def test_the_folder_directly_above_names_the_class(name, folder):
    assert class_folder(name) == folder


def test_the_second_file_of_a_name_has_a_number():
    assert [numbered("a.png", number) for number in (1, 2)] == ["a.png", "a.png (2)"]

"""The cases from the field, each sent through the real upload and held to what is expected of it.

They lie beside the repository (``../shared``, or the folder that ``NEWFOUND_SHARED`` names).
"""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select
from uploading import Uploader

from model.images import open_picture
from server.database import session_scope
from server.storage import ImageStore
from server.tables import Annotation, Category, Verdict
from server.tables import Image as ImageRow

SHARED = Path(os.environ.get("NEWFOUND_SHARED", Path(__file__).parents[1] / ".." / "shared"))
CASES = SHARED / "cases"
if not (CASES / "expected.json").is_file():
    pytest.skip("no ../shared/cases here", allow_module_level=True)

EXPECTED = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))


def cases(folder: str) -> list[str]:
    return sorted(name for name in EXPECTED if name.startswith(f"{folder}/") and not name.endswith(".csv"))


@pytest.fixture
def uploader(client, settings):
    return Uploader.in_new_project(client, settings)


def send(uploader, case, kind="unlabelled"):
    path = CASES / case
    return uploader.upload({path.name: path.read_bytes()}, kind)


def images_of(uploader) -> list[ImageRow]:
    with session_scope(uploader.settings.database_url) as session:
        return list(session.scalars(select(ImageRow).where(ImageRow.project_id == uploader.project_id)))


def within(expected, count) -> bool:
    low, high = expected if isinstance(expected, list) else (expected, expected)
    return low <= count <= high


def test_every_file_of_the_folder_has_its_expectation():
    assert {f"{path.parent.name}/{path.name}" for path in CASES.glob("*/*")} == set(EXPECTED)


@pytest.mark.parametrize("case", cases("images"))
class TestImages:
    def test_is_stored_or_refused_as_expected(self, uploader, case):
        wanted = EXPECTED[case]
        batch = send(uploader, case)
        (line,) = batch["report"].values()
        images = images_of(uploader)
        if wanted["expect"] == "accept":
            assert line["outcome"] == "STORED"
        if wanted["expect"] == "reject" or not images:
            assert line["outcome"] == "REFUSED"
            assert line["code"] == wanted["reason"]
            assert line["message"]
            assert not images
            return
        assert within(wanted["stored"], len(images))
        assert [images[0].width, images[0].height] == wanted["size"]
        if wanted.get("note") == "extra-frames":
            assert line["notes"] == ["extra-frames"]

    def test_people_and_the_network_see_the_same_right_picture(self, uploader, case, settings):
        send(uploader, case)
        store = ImageStore(settings.images_folder)
        for image in images_of(uploader):
            shown = Image.open(io.BytesIO(uploader.picture(str(image.id), "display"))).convert("RGB")
            thumb = Image.open(io.BytesIO(uploader.picture(str(image.id), "thumb"))).convert("RGB")
            seen = open_picture(store.working(image.sha256)).image
            for picture in (shown, thumb, seen):
                assert picture.size == (image.width, image.height)
                for probe in EXPECTED[case].get("probes", []):
                    pixel = picture.getpixel((probe["x"], probe["y"]))
                    inside = zip(probe["min"], pixel, probe["max"], strict=True)
                    assert all(low <= value <= high for low, value, high in inside), (probe, pixel)


@pytest.mark.parametrize("case", [*cases("archives"), "tables/pictures.zip"])
def test_archive(uploader, case):
    wanted = EXPECTED[case]
    batch = send(uploader, case)
    report = batch["report"]
    refused = {name: line["code"] for name, line in report.items() if line["outcome"] == "REFUSED"}
    if wanted["expect"] == "reject":
        assert refused == {Path(case).name: wanted["reason"]}
        assert not images_of(uploader)
        return
    assert within(wanted["stored"], len(images_of(uploader)))
    assert refused == wanted.get("rejected", {})
    assert all(line["message"] for line in report.values() if line["outcome"] == "REFUSED")
    assert not set(wanted.get("ignored", [])) & set(report)
    duplicates = [name for name, line in report.items() if line["outcome"] == "DUPLICATE"]
    assert duplicates == wanted.get("duplicates", [])
    if "names" in wanted:
        assert sorted(report) == sorted(wanted["names"])


def test_cameras_can_be_told_apart(uploader):
    batch = send(uploader, "archives/two-cameras-same-names.zip")
    folders = Counter(name.rsplit("/", 1)[0] for name in batch["report"])
    assert folders == {"site/CAM1": 2, "site/CAM2": 2}


@pytest.mark.parametrize("case", cases("classes"))
class TestClasses:
    def test_folders_become_classes(self, uploader, case):
        wanted = EXPECTED[case]
        send(uploader, case, "labelled")
        images = images_of(uploader)
        assert len(images) == wanted["stored"]
        with session_scope(uploader.settings.database_url) as session:
            categories = session.scalars(select(Category).where(Category.project_id == uploader.project_id))
            names = {category.id: category.name for category in categories}
        labels = Counter(names[image.category_id] for image in images if image.category_id)
        if "classes" in wanted:
            assert labels == wanted["classes"]
            assert set(names.values()) == set(wanted["classes"])


def test_same_pictures_in_two_classes_keep_both_opinions(uploader):
    batch = send(uploader, "classes/same-pictures-two-classes.zip", "labelled")
    images = images_of(uploader)
    assert [image.category_id for image in images] == [None] * 4
    assert {image.verdict for image in images} == {Verdict.CONFLICT}
    with session_scope(uploader.settings.database_url) as session:
        opinions = session.scalars(
            select(Annotation).where(Annotation.project_id == uploader.project_id)
        ).all()
        assert len(opinions) == 8
    codes = {name: line["code"] for name, line in batch["report"].items()}
    assert all(codes[f"rabbit/{number}.png"] == "conflicting-labels" for number in range(4))


class TestActThreeTheSameBatchTwice:
    @pytest.mark.parametrize("case", ["archives/two-cameras-same-names.zip", "images/animated.gif"])
    def test_nothing_is_new_and_all_is_reported_as_known(self, uploader, case):
        first = send(uploader, case)
        images = {image.id for image in images_of(uploader)}
        second = send(uploader, case)
        assert {image.id for image in images_of(uploader)} == images
        assert second["counts"] == {"stored": 0, "duplicate": first["counts"]["stored"], "refused": 0}
        for line in second["report"].values():
            assert line["outcome"] == "DUPLICATE"
            assert first["name"] in line["message"]

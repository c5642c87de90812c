"""The upload page: many files, a bad one among them, an interruption, the same folder again."""

import re
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
from conftest import Visits
from playwright.sync_api import Page, expect
from scene import HOSTILE, picture

from worker.ingesting import ingest_batch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures in two folders and a text file that calls itself one."""
    rng = np.random.default_rng()
    for number in range(40):
        place = tmp_path / "shelf" / f"aisle-{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"IMG_{number:02}.png").write_bytes(picture(rng))
    (tmp_path / "shelf" / "notes.jpg").write_text("These are not pixels.")
    return tmp_path / "shelf"


def figures(page: Page) -> list[str]:
    """Stored, already here, refused, still to send."""
    return page.locator("[data-report] .figures dd").all_inner_texts()


def finish(page: Page, total: int) -> None:
    expect(page.locator("[data-count]")).to_have_text(f"{total} of {total} files done")


class TestUpload:
    def test_each_file_gets_its_line_and_a_bad_one_stops_nothing(self, visit: Visits, folder: Path) -> None:
        page = visit().open(f"{visit.scene.home}/batches/new")
        page.get_by_label("Batch name").fill("Store 22")
        page.locator("#folder").set_input_files(folder)
        finish(page, 41)
        assert figures(page) == ["40", "0", "1", "0"]
        refused = page.get_by_role("row").filter(has_text="notes.jpg")
        expect(refused).to_contain_text("Refused")
        page.get_by_role("button", name="Worth a look").click()
        expect(page.locator("[data-rows] tr:visible")).to_have_count(1)
        page.get_by_role("link", name="See the batch").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Store 22")

    def test_same_folder_again_sends_nothing(self, visit: Visits, folder: Path) -> None:
        page = visit().open(f"{visit.scene.home}/batches/new")
        page.locator("#folder").set_input_files(folder)
        finish(page, 41)
        page.reload()
        (folder / "late.png").write_bytes(picture(np.random.default_rng()))
        page.locator("#folder").set_input_files(folder)
        finish(page, 2)  # the new one, and the refused one, which may have been mended
        expect(page.get_by_text("Sent before").first).to_be_visible()
        assert figures(page) == ["1", "0", "1", "0"]

    def test_same_files_in_another_batch_are_named_as_known(self, visit: Visits, folder: Path) -> None:
        for expected in (["40", "0", "1", "0"], ["0", "40", "1", "0"]):
            page = visit().open(f"{visit.scene.home}/batches/new")
            page.locator("#folder").set_input_files(folder)
            finish(page, 41)
            assert figures(page) == expected

    def test_goes_on_by_itself_after_the_network_was_away(self, visit: Visits, folder: Path) -> None:
        visitor = visit()
        page = visitor.open(f"{visit.scene.home}/batches/new")
        visitor.context.set_offline(True)
        page.locator("#folder").set_input_files(folder)
        expect(page.get_by_role("alert")).to_contain_text("sent again by itself")
        visitor.context.set_offline(False)
        finish(page, 41)
        expect(page.get_by_role("alert")).to_be_empty()
        assert figures(page) == ["40", "0", "1", "0"]

    def test_pause_and_go_on(self, visit: Visits, folder: Path) -> None:
        visitor = visit()
        page = visitor.open(f"{visit.scene.home}/batches/new")
        visitor.context.route("**/files", lambda route: None)  # never answered
        page.locator("#folder").set_input_files(folder)
        expect(page.get_by_text("Sending").first).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-rate]")).to_have_text("paused")
        visitor.context.unroute("**/files")
        page.get_by_role("button", name="Go on").click()
        finish(page, 41)
        assert figures(page) == ["40", "0", "1", "0"]

    def test_folders_name_the_categories_of_a_labelled_batch(self, visit: Visits, folder: Path) -> None:
        page = visit().open(f"{visit.scene.home}/batches/new?kind=labelled")
        expect(page.get_by_label("Labelled by their folders")).to_be_checked()
        page.locator("#folder").set_input_files(folder)
        finish(page, 41)
        page.goto(f"{visit.site}{visit.scene.home}/categories?q=aisle")
        expect(page.get_by_role("link", name="aisle-0")).to_be_visible()
        expect(page.get_by_role("link", name="aisle-1")).to_be_visible()

    def test_archive_gets_a_line_for_each_refused_member(self, visit: Visits, folder: Path) -> None:
        page = visit().open(f"{visit.scene.home}/batches/new")
        archive = shutil.make_archive(str(folder.parent / "shelf-22"), "zip", folder)
        page.locator("#files").set_input_files(archive)
        line = page.get_by_role("row").filter(has_text="shelf-22.zip")
        expect(line).to_contain_text("Being unpacked")
        batch = re.search(r"batch=([\w-]+)", page.url)
        assert batch is not None
        ingest_batch(visit.scene.settings, uuid.UUID(batch[1]))
        expect(line).to_contain_text("Unpacked")
        expect(page.get_by_role("row").filter(has_text="notes.jpg")).to_contain_text("Refused")
        assert figures(page) == ["40", "0", "1", "0"]

    def test_hostile_file_name_is_shown_as_text(self, visit: Visits) -> None:
        page = visit().open(f"{visit.scene.home}/batches/new")
        file = {"name": f"{HOSTILE}.png", "mimeType": "image/png", "buffer": b"no pixels"}
        page.locator("#files").set_input_files([file])  # type: ignore[list-item]
        finish(page, 1)
        expect(page.locator("[data-rows] td").first).to_contain_text("onerror=alert(1)")
        assert page.locator("[onerror]").count() == 0

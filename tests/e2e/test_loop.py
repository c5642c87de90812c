"""The whole loop as a person lives it: real Chromium, real processes, real pictures."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from stack import Stack

from demo.sources import Source, open_source

SHOWN = ("clock", "moon", "flag")
OF_EACH = 8
TYPO = {"clock": "clocck", "moon": "moonn", "flag": "flagg"}


@pytest.fixture(scope="module")
def emoji() -> Source:
    return open_source(None)


def of_class(source: Source, category: str) -> list[str]:
    return sorted(one.path for one in source.examples if one.category == category)


@pytest.fixture(scope="module")
def folder(emoji: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three classes; the name of a file tells its truth to the test alone."""
    place = tmp_path_factory.mktemp("pictures")
    for category in SHOWN:
        for number, path in enumerate(of_class(emoji, category)[:OF_EACH]):
            (place / f"{category}-{number}.png").write_bytes(emoji.read(path))
    (place / "notes.jpg").write_text("These are not pixels.")
    return place


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context(base_url=stack.base_url)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/projects")
    page.get_by_label("Email").fill(stack.email)
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")
    yield page
    context.close()
    assert errors == []


def truth_on_show(page: Page, *, other_than: str | None = None) -> str:
    """Class of the image that the page asks about, told by its file name."""
    name = page.locator("[data-file]")
    expect(name).to_have_text(re.compile(r"\.png$"))
    if other_than is not None:
        expect(name).not_to_have_text(other_than)
    return name.inner_text().split("-")[0]


def predict(stack: Stack, project: str, picture: bytes) -> dict[str, Any]:
    with stack.client() as client:
        answer = client.post(
            f"/api/v1/projects/{project}/predictions", files={"file": ("unseen.png", picture)}
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()


class TestTheLoop:
    def test_from_first_image_to_recognised_class(
        self, page: Page, stack: Stack, emoji: Source, folder: Path
    ) -> None:
        page.goto("/projects/new")
        page.get_by_label("Name", exact=True).fill("Little pictures")
        page.get_by_role("button", name="Create the project").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Little pictures")
        project = re.findall(r"/projects/([0-9a-f-]{36})", page.url)[0]

        page.goto(f"/projects/{project}/batches/new")
        page.locator("#files").set_input_files(sorted(folder.iterdir()))
        expect(page.locator("[data-figure=STORED]")).to_have_text(str(len(SHOWN) * OF_EACH), timeout=30_000)
        expect(page.locator("[data-figure=REFUSED]")).to_have_text("1")
        expect(page.locator("[data-rows] tr", has_text="notes.jpg")).to_contain_text(
            "Not a picture that can be read"
        )
        page.get_by_role("link", name="See the batch").click()
        page.wait_for_url("**/batches/*")
        self.wait_for_scores(page)

        page.goto(f"/projects/{project}/annotate")
        first = truth_on_show(page)
        first_file = page.locator("[data-file]").inner_text()
        expect(page.locator("[data-reason]")).to_contain_text("No category")
        page.keyboard.press("n")
        page.keyboard.type(first)
        page.keyboard.press("Enter")
        expect(page.locator("[data-news-status]")).to_contain_text("is live", timeout=15_000)
        expect(page.locator("[data-news-status]")).to_contain_text(first)

        unseen = emoji.read(of_class(emoji, first)[OF_EACH])
        answer = predict(stack, project, unseen)
        assert [one["name"] for one in answer["top"]] == [first]

        truth_on_show(page, other_than=first_file)
        page.keyboard.press("/")
        page.keyboard.type(TYPO[first])
        page.get_by_role("button", name="New category").click()
        dialog = page.get_by_role("dialog", name=f"Did you mean {first}?")
        expect(dialog).to_be_visible()
        with stack.client() as client:
            names = client.get(f"/api/v1/projects/{project}/categories").json()["items"]
        assert [one["name"] for one in names] == [first]
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()

    def wait_for_scores(self, page: Page) -> None:
        """The batch page fills itself; a reload shows what a person without script sees."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            page.reload()
            if page.locator(".tile").count() == len(SHOWN) * OF_EACH:
                return
            page.wait_for_timeout(500)
        raise AssertionError("The batch page shows no scores after a minute.")

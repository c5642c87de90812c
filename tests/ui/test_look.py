"""Every page in both themes, wide and on a phone: axe is content, nothing lies sideways, no complaint."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Visits
from playwright.sync_api import Page

SIZES = [(1440, 900), (390, 844)]
NARROWEST = (320, 640)


def faults(page: Page) -> list[str]:
    """Rules of axe that the page breaks seriously, with the element at fault."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def overflow(page: Page) -> int:
    """Pixels by which the page can be scrolled sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def each_page(visit: Visits, size: tuple[int, int], *, dark: bool) -> Iterator[tuple[str, Page]]:
    """One page after the other, each when it shows what it has."""
    visitor = visit(width=size[0], height=size[1], dark=dark)
    for name, path in visit.scene.pages.items():
        page = visitor.open(path)
        if name.startswith("annotate"):
            page.locator("[data-picture]:visible, [data-nothing]:visible").wait_for()
        yield name, page
        page.close()


both_themes = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
all_sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))


class TestPages:
    """What a person sees anywhere."""

    @both_themes
    @all_sizes
    def test_are_accessible_and_fit(self, visit: Visits, size: tuple[int, int], dark: bool) -> None:
        for name, page in each_page(visit, size, dark=dark):
            assert faults(page) == [], name
            assert overflow(page) <= 0, name
            assert page.locator("h1").count() == 1, name

    def test_fit_the_narrowest_window(self, visit: Visits) -> None:
        assert {
            name: over
            for name, page in each_page(visit, NARROWEST, dark=False)
            if (over := overflow(page)) > 0
        } == {}

    @both_themes
    @all_sizes
    def test_login_is_accessible_and_fits(self, visit: Visits, size: tuple[int, int], dark: bool) -> None:
        page = visit(None, width=size[0], height=size[1], dark=dark).open("/login?next=/account")
        page.get_by_label("Email").fill(f"nobody-{size[0]}-{dark}@example.org")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("do not match").wait_for()
        assert faults(page) == []
        assert overflow(page) <= 0


class TestSheets:
    """What lies over the annotate page."""

    @both_themes
    @pytest.mark.parametrize("key", ["?", "m"])
    def test_are_accessible(self, visit: Visits, key: str, dark: bool) -> None:
        page = visit(dark=dark).open(f"{visit.scene.home}/annotate")
        page.locator("[data-picture]:visible").wait_for()
        page.keyboard.press(key)
        page.locator("[popover]:popover-open").wait_for()
        assert faults(page) == []

    @all_sizes
    def test_naming_check_is_accessible(self, visit: Visits, size: tuple[int, int]) -> None:
        page = visit(width=size[0], height=size[1]).open(f"{visit.scene.home}/annotate")
        page.locator("[data-picture]:visible").wait_for()
        page.get_by_role("combobox").fill("Pomegranite")
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_text("Did you mean Pomegranate?").wait_for()
        assert faults(page) == []
        assert overflow(page) <= 0

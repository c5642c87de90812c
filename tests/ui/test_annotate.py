"""The annotate page as hands use it: keys, tabs, a lost network, a name that is nearly taken."""

import re
import uuid
from collections import Counter

import pytest
from conftest import Visitor, Visits
from playwright.sync_api import Page, Route, expect
from scene import HOSTILE, Scene, build
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from server.accounts import service as accounts
from server.database import session_scope
from server.permissions import Role
from server.settings import Settings
from server.tables import (
    Annotation,
    AnnotationTask,
    Category,
    ClassMemoryRow,
    Embedding,
    Image,
    Membership,
    TaskState,
    Verdict,
)


@pytest.fixture
def scene(app: object, settings: Settings) -> Scene:
    """A queue of its own for each test."""
    with TestClient(app) as client:  # type: ignore[arg-type]
        return build(settings, client)


def annotate(visitor: Visitor, scene: Scene) -> Page:
    """A tab on the annotate page with an image on show."""
    page = visitor.open(f"{scene.home}/annotate")
    expect(page.locator("[data-picture]")).to_be_visible()
    return page


def file_on_show(page: Page) -> str:
    """Name of the image that is asked about."""
    return page.locator("[data-file]").inner_text()


def answer(page: Page, *keys: str) -> str:
    """Press keys, wait for another image; the name of the one that was answered."""
    file = file_on_show(page)
    for key in keys:
        page.keyboard.press(key)
    next_image(page, file)
    return file


def next_image(page: Page, file: str) -> None:
    """Wait for an image other than ``file``; between two the page may show none for a moment."""
    expect(page.locator("[data-file]")).to_have_text(re.compile(rf"^(?!{re.escape(file)}$).+"))


def go_offline(visitor: Visitor, page: Page) -> None:
    """Cut the network once the images that can be answered without it are there."""
    expect(page.locator("[data-next]")).to_have_attribute("data-next", "2")
    visitor.context.set_offline(True)


def everything_sent(page: Page) -> None:
    expect(page.locator("[data-sync]")).to_have_text("All labels sent")


def lay_beside(session: Session, scene: Scene, file: str, name: str) -> None:
    """Give the image of ``file`` the place in the space where the category ``name`` has its centre."""
    centre = (
        select(ClassMemoryRow.centroid)
        .join(Category)
        .where(ClassMemoryRow.model_version_id == scene.version_id, Category.name == name)
    )
    image = select(Image.id).where(Image.name == file, Image.project_id == scene.project_id)
    session.execute(
        update(Embedding)
        .where(Embedding.model_version_id == scene.version_id, Embedding.image_id.in_(image))
        .values(vector=session.scalars(centre).one())
        .execution_options(synchronize_session=False)
    )


def stored(scene: Scene) -> list[tuple[str, Verdict | None, str | None]]:
    """Judgements of people in the order in which they came: file, verdict, category."""
    with session_scope(scene.settings.database_url) as session:
        rows = session.execute(
            select(Image.name, Annotation.verdict, Category.name)
            .join(Image, Image.id == Annotation.image_id)
            .outerjoin(Category, Category.id == Annotation.category_id)
            .where(Annotation.project_id == scene.project_id, Annotation.task_id.is_not(None))
            .order_by(Annotation.created_at)
        )
        return [(file, verdict, category) for file, verdict, category in rows]


class TestKeys:
    def test_number_and_enter_give_the_suggestion(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        first = page.get_by_role("option").first.locator("strong").inner_text()
        file = answer(page, "1", "Enter")
        everything_sent(page)
        assert stored(visit.scene) == [(file, Verdict.KNOWN, first)]
        expect(page.locator("[data-session]")).to_have_text("1 labelled")

    def test_each_verdict_has_a_key(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        for keys in (["k", "k"], ["x"], ["c"], ["f"]):
            answer(page, *keys)
        everything_sent(page)
        assert [verdict for _, verdict, _ in stored(visit.scene)] == [
            Verdict.KNOWN,
            Verdict.NOT_OF_INTEREST,
            Verdict.CANNOT_TELL,
            Verdict.BAD_IMAGE,
        ]

    def test_digit_answers_at_once_where_that_is_wanted(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        page.keyboard.press("?")
        page.get_by_label("A digit answers at once").check()
        page.keyboard.press("Escape")
        answer(page, "2")
        everything_sent(page)
        assert len(stored(visit.scene)) == 1

    def test_key_can_be_changed_and_is_kept(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        page.keyboard.press("?")
        page.get_by_role("button", name="Change the key for: skip").click()
        page.keyboard.press("x")
        expect(page.locator("[data-key-news]")).to_have_text(
            "X is taken by “not of interest”. Press another, or Esc."
        )
        page.keyboard.press("w")
        expect(page.locator("[data-key-news]")).to_have_text("W set.")
        page.keyboard.press("Escape")
        page.reload()
        expect(page.locator("[data-picture]")).to_be_visible()
        answer(page, "w")
        expect(page.locator("[data-session]")).to_have_text("0 labelled · 1 skipped")

    def test_letters_are_text_in_the_name_field(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        page.keyboard.press("/")
        page.keyboard.type("xkcs1")
        expect(page.get_by_role("combobox")).to_have_value("xkcs1")
        assert file_on_show(page) == file

    def test_typing_finds_a_category_by_part_of_its_name(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        page.keyboard.press("/")
        page.keyboard.type("PEAR")
        expect(page.get_by_role("option", selected=True)).to_contain_text("Conference pear")
        answer(page, "Enter")
        everything_sent(page)
        assert stored(visit.scene)[0][2] == "Conference pear"

    def test_undo_takes_back_one_after_the_other(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        first, second = answer(page, "x"), answer(page, "c")
        everything_sent(page)
        page.keyboard.press("z")
        expect(page.locator("[data-file]")).to_have_text(second)
        page.keyboard.press("z")
        expect(page.locator("[data-file]")).to_have_text(first)
        page.keyboard.press("z")
        expect(page.get_by_text("no answer of yours left")).to_be_visible()
        expect(page.locator("[data-session]")).to_have_text("0 labelled")

    def test_zoom_and_compare(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        width = page.locator("[data-picture]").bounding_box()["width"]
        page.keyboard.press("+")
        assert page.locator("[data-picture]").bounding_box()["width"] > width * 1.2
        page.keyboard.press("0")
        page.keyboard.down("v")
        expect(page.locator("[data-other]")).to_be_visible()
        page.keyboard.up("v")
        expect(page.locator("[data-other]")).to_be_hidden()


class TestOnce:
    def test_double_click_is_one_answer_and_one_card(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        page.get_by_role("button", name="Not of interest").dblclick()
        next_image(page, file)
        everything_sent(page)
        page.wait_for_timeout(300)
        assert [name for name, _, _ in stored(visit.scene)] == [file]
        expect(page.locator("[data-session]")).to_have_text("1 labelled")

    def test_reload_keeps_the_image(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        answer(page, "x")
        file = file_on_show(page)
        page.reload()
        expect(page.locator("[data-file]")).to_have_text(file)

    def test_no_image_twice_in_tabs_and_among_people(self, visit: Visits) -> None:
        owner, annotator = visit(), visit(Role.ANNOTATOR)
        tabs = [annotate(person, visit.scene) for person in (owner, owner, annotator, annotator)]
        seen = Counter(file_on_show(tab) for tab in tabs)
        for _ in range(3):
            seen.update(answer(tab, "x") and file_on_show(tab) for tab in tabs)
        assert max(seen.values()) == 1, seen

    def test_late_answer_is_kept_as_a_second_opinion(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        with session_scope(visit.scene.settings.database_url) as session:
            task = (
                select(AnnotationTask.id)
                .join(Image)
                .where(Image.name == file, AnnotationTask.project_id == visit.scene.project_id)
            )
            session.execute(
                update(AnnotationTask)
                .where(AnnotationTask.id.in_(task))
                .values(state=TaskState.LEASED, lease_token=uuid.uuid4())
            )
        page.keyboard.press("x")
        expect(page.get_by_role("alert")).to_contain_text("kept as a second opinion")
        assert [name for name, _, _ in stored(visit.scene)] == [file]


class TestWithoutNetwork:
    def test_labels_arrive_once_and_in_order(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        go_offline(visitor, page)
        files = [answer(page, "x"), answer(page, "c")]
        expect(page.locator("[data-sync]")).to_have_text("2 labels kept on this device")
        assert stored(visit.scene) == []
        visitor.context.set_offline(False)
        everything_sent(page)
        assert [name for name, _, _ in stored(visit.scene)] == files

    def test_labels_survive_a_closed_tab(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        visitor.context.route("**/submit", lambda route: route.abort())
        file = answer(page, "x")
        expect(page.locator("[data-sync]")).to_have_text("1 label kept on this device")
        visitor.context.unroute("**/submit")
        page.goto(f"{visitor.site}/account")
        everything_sent(page)
        assert [name for name, _, _ in stored(visit.scene)] == [file]

    def test_answer_lost_on_its_way_back_is_stored_once(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        lost = []

        def lose_the_first(route: object) -> None:
            if lost:
                route.continue_()  # type: ignore[attr-defined]
                return
            lost.append(route.fetch())  # type: ignore[attr-defined]
            route.abort()  # type: ignore[attr-defined]

        visitor.context.route("**/submit", lose_the_first)
        file = answer(page, "x")
        everything_sent(page)
        assert lost
        assert [name for name, _, _ in stored(visit.scene)] == [file]

    def test_undo_works_on_what_was_not_sent(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        go_offline(visitor, page)
        file = answer(page, "x")
        page.keyboard.press("z")
        expect(page.locator("[data-file]")).to_have_text(file)
        visitor.context.set_offline(False)
        answer(page, "c")
        everything_sent(page)
        assert [verdict for _, verdict, _ in stored(visit.scene)] == [Verdict.CANNOT_TELL]


class TestTurnedAway:
    """The service answers, but with no: that is no lost connection."""

    def test_signed_out(self, visit: Visits) -> None:
        visitor = visit()

        def sign_out(route: Route) -> None:
            with session_scope(visit.scene.settings.database_url) as session:
                accounts.log_out(session, visit.scene.cookies[Role.OWNER])
            route.continue_()

        visitor.context.route("**/claim", sign_out)
        page = visitor.open(f"{visit.scene.home}/annotate")
        expect(page.get_by_role("alert")).to_contain_text("You were signed out.")
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        expect(page.get_by_role("heading", name="You were signed out.")).to_be_visible()

    def test_no_annotator_any_more(self, visit: Visits) -> None:
        visitor = visit(Role.ANNOTATOR)

        def demote(route: Route) -> None:
            with session_scope(visit.scene.settings.database_url) as session:
                session.execute(
                    update(Membership)
                    .where(Membership.project_id == visit.scene.project_id, Membership.role == Role.ANNOTATOR)
                    .values(role=Role.VIEWER)
                )
            route.continue_()

        visitor.context.route("**/claim", demote)
        page = visitor.open(f"{visit.scene.home}/annotate")
        expect(page.get_by_role("alert")).to_contain_text("Your role in this project is viewer")
        expect(page.get_by_text("No connection.")).to_be_hidden()


class TestNames:
    def type_name(self, page: Page, name: str) -> None:
        page.keyboard.press("n")
        page.keyboard.type(name)
        page.keyboard.press("Enter")

    def test_new_name_makes_a_category(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        self.type_name(page, "Papaya")
        next_image(page, file)
        assert stored(visit.scene) == [(file, Verdict.NEW, "Papaya")]
        page.keyboard.press("/")
        page.keyboard.type("papa")
        expect(page.get_by_role("option").first).to_contain_text("Papaya")

    def test_slip_is_stopped_and_put_right(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        self.type_name(page, "Pomegranite")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", level=2)).to_have_text("Did you mean Pomegranate?")
        assert dialog.locator("mark").all_inner_texts() == ["i", "a"]
        assert stored(visit.scene) == []
        page.keyboard.press("Enter")
        next_image(page, file)
        everything_sent(page)
        assert stored(visit.scene) == [(file, Verdict.KNOWN, "Pomegranate")]

    def test_different_thing_with_a_like_name_is_made_after_a_look(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        self.type_name(page, "Pomegranite")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("d")
        next_image(page, file)
        everything_sent(page)
        assert stored(visit.scene) == [(file, Verdict.NEW, "Pomegranite")]

    def test_two_questions_about_one_name_are_each_asked_once(self, visit: Visits) -> None:
        """The name is spelt like one category, and the picture lies where the images of another do."""
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        with session_scope(visit.scene.settings.database_url) as session:
            lay_beside(session, visit.scene, file, "Lime")
        self.type_name(page, "Pomegranite")
        question = page.get_by_role("dialog").get_by_role("heading", level=2)
        expect(question).to_have_text("Did you mean Pomegranate?")
        page.keyboard.press("d")
        expect(question).to_have_text("Is it Lime?")
        page.keyboard.press("d")
        next_image(page, file)
        everything_sent(page)
        assert stored(visit.scene) == [(file, Verdict.NEW, "Pomegranite")]

    @pytest.mark.parametrize(
        ("key", "label"),
        [("Enter", (Verdict.KNOWN, "Conference pear")), ("d", (Verdict.NEW, "Pear conference"))],
    )
    def test_same_words_in_another_order_are_shown_before_they_are_used(
        self, visit: Visits, key: str, label: tuple[Verdict, str]
    ) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        self.type_name(page, "Pear conference")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", level=2)).to_have_text("Use Conference pear?")
        page.keyboard.press(key)
        next_image(page, file)
        everything_sent(page)
        assert stored(visit.scene) == [(file, *label)]

    def test_cancel_leads_back_to_the_image_and_the_name(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        file = file_on_show(page)
        self.type_name(page, "Pomegranite")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.get_by_role("combobox")).to_have_value("Pomegranite")
        assert file_on_show(page) == file
        assert stored(visit.scene) == []

    def test_hostile_name_is_shown_as_text(self, visit: Visits) -> None:
        page = annotate(visit(), visit.scene)
        self.type_name(page, HOSTILE)
        everything_sent(page)
        page.keyboard.press("/")
        page.keyboard.type("onerror")
        expect(page.get_by_role("option").first.locator("strong")).to_have_text(re.compile("onerror=alert"))
        assert page.locator("[onerror]").count() == 0

    def test_name_that_needs_a_look_after_the_network_came_back_is_told(self, visit: Visits) -> None:
        visitor = visit()
        page = annotate(visitor, visit.scene)
        go_offline(visitor, page)
        file = file_on_show(page)
        self.type_name(page, "Pomegranite")
        next_image(page, file)
        visitor.context.set_offline(False)
        expect(page.get_by_role("alert")).to_contain_text("1 label was not accepted")
        page.get_by_role("button", name="Choose").click()
        page.get_by_role("button", name="Use Pomegranate").click()
        everything_sent(page)
        assert stored(visit.scene) == [(file, Verdict.KNOWN, "Pomegranate")]


class TestQueueEnds:
    def test_says_that_nothing_waits(self, visit: Visits) -> None:
        page = visit().open(f"/projects/{visit.scene.empty_project_id}/annotate")
        expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()

    def test_few_images_are_left_to_others(self, visit: Visits) -> None:
        with session_scope(visit.scene.settings.database_url) as session:
            rows = select(AnnotationTask).where(AnnotationTask.project_id == visit.scene.project_id)
            for task in session.scalars(rows.offset(3)):
                session.delete(task)
        annotate(visit(), visit.scene)
        with session_scope(visit.scene.settings.database_url) as session:
            held = session.scalar(
                select(func.count()).where(
                    AnnotationTask.project_id == visit.scene.project_id,
                    AnnotationTask.state == TaskState.LEASED,
                )
            )
        assert held == 1

"""The naming check on real rows: names from the database, distances by pgvector."""

import threading

import pytest
from pool import Pool
from sqlalchemy import event, func, select

from server.categories import service as categories
from server.categories.check import NameQuestion
from server.categories.new_names import EXEMPLARS
from server.categories.verdicts import Verdict
from server.database import engine_for, session_scope
from server.errors import InvalidInput
from server.permissions import Role
from server.tables import Category, CategoryStatus, Project, User

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture
def pool(session):
    pool = Pool(session)
    pool.activate_version()
    return pool


@pytest.fixture
def annotator(pool):
    return pool.person(Role.ANNOTATOR).user


def check(pool, name, image=None, **others):
    return categories.check_name(pool.session, pool.project, name, image and image.id, **others)


class TestVerdicts:
    def test_new_with_the_nearest_picture_for_information(self, pool):
        pool.category("Paprika", X)
        pool.category("Mango", Y)
        found = check(pool, "Papaya", pool.image(at=(0.0, 0.6, 0.8)))
        assert (found.verdict, found.candidates) == (Verdict.NEW, ())
        assert found.next_nearest.name == "Mango"
        assert found.next_nearest.distance == pytest.approx((0.4**2 + 0.8**2) ** 0.5, abs=1e-3)

    def test_the_same_name_in_another_spelling(self, pool):
        plum = pool.category("Plum", X)
        found = check(pool, "  PLUM\u00a0", pool.image(at=X))
        assert (found.verdict, found.is_exact) == (Verdict.SAME, True)
        assert found.candidates[0].category_id == plum.id

    def test_the_same_words_are_not_taken_for_exact(self, pool):
        pool.category("Plum", X)
        found = check(pool, "plums")
        assert (found.verdict, found.is_exact) == (Verdict.SAME, False)

    def test_a_typing_error_with_its_evidence(self, pool):
        pool.category("Pomegranate", X)
        pool.category("Nectarine", Y)
        image = pool.image(at=(0.8, 0.6, 0.0))
        (candidate,) = (found := check(pool, "Pomegranite", image)).candidates
        assert found.verdict is Verdict.TYPO
        assert candidate.text.note == "1 of 11 letters differs"
        assert (candidate.marks.typed, candidate.marks.other) == (((8, 9),), ((8, 9),))
        assert candidate.picture.distance == pytest.approx((0.2**2 + 0.6**2) ** 0.5, abs=1e-3)
        assert candidate.picture.usual_limit == 0.5
        assert found.next_nearest.name == "Nectarine"

    def test_a_synonym_is_another_word_on_like_pictures(self, pool):
        courgette = pool.category("Courgette", X)
        pool.category("Mango", Y)
        found = check(pool, "Zucchini", pool.image(at=(0.995, 0.0999, 0.0)))
        assert found.verdict is Verdict.SYNONYM
        assert [candidate.category_id for candidate in found.candidates] == [courgette.id]
        assert found.candidates[0].marks.typed == ()

    def test_a_homonym_is_the_same_word_on_other_pictures(self, pool):
        pool.category("Galia", X)
        found = check(pool, "galia", pool.image(at=Y))
        assert (found.verdict, found.is_exact) == (Verdict.HOMONYM, True)

    def test_without_a_picture_the_text_decides(self, pool):
        pool.category("Courgette", X)
        assert check(pool, "Zucchini").verdict is Verdict.NEW
        assert check(pool, "Zucchini", pool.image()).verdict is Verdict.NEW
        assert check(pool, "Courgete").verdict is Verdict.TYPO

    def test_without_a_version_the_text_decides(self, session):
        young = Pool(session)
        young.category("Mango")
        assert check(young, "Manog", young.image()).verdict is Verdict.TYPO

    def test_an_alias_leads_to_its_category(self, pool, annotator):
        plum = pool.category("Plum", X)
        categories.add_alias(pool.session, annotator, plum, "Zwetschge")
        found = check(pool, "zwetschge")
        assert (found.verdict, found.is_exact) == (Verdict.SAME, True)
        assert (found.candidates[0].name, found.candidates[0].alias_matched) == ("Plum", "Zwetschge")
        assert check(pool, "zwetschke").candidates[0].alias_matched == "Zwetschge"

    def test_a_retired_category_is_not_asked_about(self, pool):
        pool.category("Plum", X, status=CategoryStatus.RETIRED)
        assert check(pool, "plum", pool.image(at=X)).verdict is Verdict.NEW

    def test_another_projects_names_and_images_do_not_count(self, pool, session):
        other = Pool(session, "Other")
        other.activate_version()
        other.category("Plum", X)
        assert check(pool, "plum", other.image(at=X)).verdict is Verdict.NEW

    def test_counts_and_shows_the_labelled_images(self, pool):
        plum = pool.category("Plum", X)
        for _ in range(5):
            pool.image().category_id = plum.id
        pool.session.flush()
        (candidate,) = check(pool, "plumm").candidates
        assert (candidate.count, len(candidate.exemplar_ids)) == (5, EXEMPLARS)

    @pytest.mark.parametrize("name", ["", "\u200b", "a\x00b", "x" * 101])
    def test_what_is_no_name(self, pool, name):
        with pytest.raises(InvalidInput):
            check(pool, name)


class TestDifferent:
    def test_what_somebody_has_told_apart_is_not_asked_again(self, pool):
        mango = pool.category("Mango", X)
        image = pool.image(at=X)
        assert check(pool, "Manga", image).verdict is Verdict.TYPO
        assert check(pool, "Manga", image, different_from={mango.id}).verdict is Verdict.NEW

    def test_others_are_still_asked_about(self, pool):
        mango, manja = pool.category("Mango", X), pool.category("Manja", Y)
        found = check(pool, "Manga", different_from={mango.id})
        assert [candidate.category_id for candidate in found.candidates] == [manja.id]

    def test_one_name_cannot_stand_for_two(self, pool):
        galia = pool.category("Galia", X)
        found = check(pool, "galia", pool.image(at=Y), different_from={galia.id})
        assert found.verdict is Verdict.HOMONYM


class TestCreate:
    def test_an_annotators_category_is_proposed(self, pool, annotator):
        made = categories.create(pool.session, pool.project, annotator, " Oat  milk ")
        assert (made.name, made.name_key, made.status) == ("Oat milk", "oat milk", CategoryStatus.PROPOSED)
        assert made.created_by == annotator.id

    def test_a_reviewers_category_is_active(self, pool):
        reviewer = pool.person(Role.REVIEWER).user
        assert categories.create(pool.session, pool.project, reviewer, "Leek").status is CategoryStatus.ACTIVE

    def test_a_name_that_may_mean_another_makes_nothing(self, pool, annotator):
        pool.category("Leek", X)
        with pytest.raises(NameQuestion) as caught:
            categories.create(pool.session, pool.project, annotator, "Leeks")
        assert caught.value.details["verdict"] == "same"
        assert caught.value.details["candidates"][0]["name"] == "Leek"
        assert pool.session.scalar(select(func.count(Category.id)).where(Category.name == "Leeks")) == 0


class TestResolve:
    def test_a_name_in_use_is_taken_without_asking(self, pool, annotator):
        leek = pool.category("Leek", X)
        assert categories.resolve(pool.session, pool.project, annotator, "LEEK") == (leek, False)

    def test_a_known_misspelling_too(self, pool, annotator):
        leek = pool.category("Leek", X)
        categories.remember_misspelling(pool.session, pool.project, annotator, leek, "leak soup")
        assert categories.resolve(pool.session, pool.project, annotator, "Leak soup") == (leek, False)

    def test_a_new_name_is_made(self, pool, annotator):
        category, is_created = categories.resolve(pool.session, pool.project, annotator, "Leek")
        assert (category.name, is_created) == ("Leek", True)

    @pytest.mark.parametrize("typed", ["Leeks and onion", "leek and onions"])
    def test_the_same_words_are_asked_about(self, pool, annotator, typed):
        pool.category("Leek and onion", X)
        with pytest.raises(NameQuestion):
            categories.resolve(pool.session, pool.project, annotator, typed)

    def test_the_same_word_for_another_thing_is_asked_about(self, pool, annotator):
        pool.category("Galia", X)
        with pytest.raises(NameQuestion, match="Another Galia"):
            categories.resolve(pool.session, pool.project, annotator, "Galia", image_id=pool.image(at=Y).id)


class TestFindOrCreate:
    def test_takes_any_spelling_and_any_alias(self, pool, annotator):
        lynx = categories.find_or_create(pool.session, pool.project.id, " Lynx ", annotator.id)
        categories.add_alias(pool.session, annotator, lynx, "Bobcat")
        for spelling in ("lynx", "LYNX\u00a0", "bobcat"):
            assert categories.find_or_create(pool.session, pool.project.id, spelling, None) is lynx
        assert lynx.status is CategoryStatus.ACTIVE

    def test_a_near_name_is_a_category_of_its_own(self, pool):
        one = categories.find_or_create(pool.session, pool.project.id, "hare", None)
        assert categories.find_or_create(pool.session, pool.project.id, "hares", None) is not one

    def test_a_retired_one_is_not_brought_back(self, pool):
        old = pool.category("Plum", status=CategoryStatus.RETIRED)
        assert categories.find_or_create(pool.session, pool.project.id, "plum", None).id != old.id

    def test_is_made_once_whoever_asks_first(self, settings):
        with session_scope(settings.database_url) as session:
            project_id = Pool(session).project.id
        start, ids = threading.Barrier(6), []

        def ask(spelling):
            with session_scope(settings.database_url) as session:
                start.wait()
                ids.append(categories.find_or_create(session, project_id, spelling, None).id)

        run(ask, [("moss",), ("Moss",), ("MOSS",), (" moss",), ("moss ",), ("mo\u200bss",)])
        assert len(ids) == 6
        assert len(set(ids)) == 1


class TestAtOnce:
    def test_two_people_do_not_make_two_like_names(self, settings):
        with session_scope(settings.database_url) as session:
            pool = Pool(session)
            project_id = pool.project.id
            people = [pool.person(Role.ANNOTATOR).user.id for _ in range(4)]
        start, made, asked = threading.Barrier(4), [], []

        def name(user_id, typed):
            with session_scope(settings.database_url) as session:
                project, user = session.get_one(Project, project_id), session.get_one(User, user_id)
                start.wait()
                try:
                    made.append(categories.create(session, project, user, typed).id)
                except NameQuestion as question:
                    asked.append(question.check.verdict)

        run(name, list(zip(people, ["Papaya", "papaya ", "Papaja", "PAPAYA"], strict=True)))
        assert len(made) == 1
        assert len(asked) == 3


def run(work, arguments):
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestCost:
    def test_it_takes_three_statements_however_many_categories(self, pool, settings):
        for number in range(300):
            pool.category(f"Kind {number}")
        pool.category("Courgette", X)
        image = pool.image(at=X)
        statements = []

        def note(*args):
            statements.append(args[2])

        engine = engine_for(settings.database_url)
        event.listen(engine, "before_cursor_execute", note)
        check(pool, "Zucchini", image)
        event.remove(engine, "before_cursor_execute", note)
        assert len(statements) == 3

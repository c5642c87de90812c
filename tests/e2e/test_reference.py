"""The API's reference page in a real browser without network."""

import pytest


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


class TestReferencePage:
    def test_shows_every_feature_and_asks_nobody_else(self, stack, page):
        complaints, elsewhere = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((stack.base_url, "data:")) else elsewhere.append(request.url)
            ),
        )
        page.goto(f"{stack.base_url}/api/docs")
        page.get_by_text("/api/v1/projects/{project_id}/queue/claim").wait_for()
        assert page.get_by_role("button", name="Authorize").count() == 1
        assert (complaints, elsewhere) == ([], [])

    def test_a_token_typed_there_is_used(self, stack, page):
        page.goto(f"{stack.base_url}/api/docs")
        page.get_by_role("button", name="Authorize").click()
        page.get_by_label("auth-bearer-value").fill(stack.token)
        page.locator(".auth-btn-wrapper button", has_text="Authorize").click()
        page.locator(".btn-done").click()
        me = page.locator("#operations-accounts-get_me_api_v1_me_get")
        me.click()
        me.get_by_role("button", name="Try it out").click()
        with page.expect_response("**/api/v1/me") as answer:
            me.get_by_role("button", name="Execute").click()
        assert answer.value.json()["email"] == stack.email

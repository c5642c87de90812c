"""No link, picture, script or form of a page leads nowhere."""

import re
from urllib.parse import urljoin, urlsplit

from fastapi import FastAPI
from scene import Scene
from starlette.testclient import TestClient

from server.deps import SESSION_COOKIE
from server.permissions import Role

LINK = re.compile(r"""(?:href|src|data-full)="([^"#][^"]*)""")
FORM = re.compile(r"""<form[^>]*method="post"[^>]*action="([^"]+)""")


def addresses(pattern: re.Pattern[str], page: str, base: str) -> set[str]:
    found = {urljoin(base, match.replace("&amp;", "&")) for match in pattern.findall(page)}
    return {one for one in found if urlsplit(one).netloc == "testserver"}


class TestLinks:
    def test_whatever_a_page_names_is_there(self, app: FastAPI, scene: Scene) -> None:
        with TestClient(app, cookies={SESSION_COOKIE: scene.cookies[Role.OWNER]}) as client:
            waiting = {
                urljoin("http://testserver", path) for name, path in scene.pages.items() if name != "error"
            }
            seen: dict[str, int] = {}
            while waiting:
                address = waiting.pop()
                answer = client.get(address)
                seen[address] = answer.status_code
                if "text/html" in answer.headers["content-type"]:
                    waiting |= addresses(LINK, answer.text, address) - seen.keys()
            assert {address: status for address, status in seen.items() if status >= 400} == {}
            assert any("/categories/" in address for address in seen)

    def test_every_form_has_an_address_that_takes_posts(self, app: FastAPI, scene: Scene) -> None:
        with TestClient(app, cookies={SESSION_COOKIE: scene.cookies[Role.OWNER]}) as client:
            forms: set[str] = set()
            for path in scene.pages.values():
                forms |= addresses(FORM, client.get(path).text, "http://testserver")
        assert forms
        # Signed out, so that nothing is done: an address that is not there says 404, one without POST 405.
        with TestClient(app, follow_redirects=False) as stranger:
            answers = {form: stranger.post(form).status_code for form in forms}
        assert {form: status for form, status in answers.items() if status in (404, 405)} == {}

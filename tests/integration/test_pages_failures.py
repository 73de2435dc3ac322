"""What goes wrong on the server: a page where one was asked for, a part where a part was."""

from __future__ import annotations

from typing import NoReturn

import httpx
import pytest

from tests.integration.test_page_access import BASE_URL, OWN, House, database_kind, house

__all__ = ["database_kind", "house"]

PART = {
    "accept": "text/html",
    "hx-request": "true",
    "hx-request-type": "partial",
    "hx-target": "aside#drawer",
}


@pytest.fixture
def client(house: House, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    """A browser of the user's, at a server whose pages of tokens have a fault."""

    def crash(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("aieye.access.tokens.get_token", crash)
    monkeypatch.setattr("aieye.access.tokens.update_token", crash)
    # What the server writes into its log is raised here too.
    transport = httpx.ASGITransport(house.service, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url=BASE_URL, cookies=house.user.client.cookies
    )


async def test_a_page_that_crashed_has_its_frame_and_the_way_to_try_again(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/tokens/7?range=7d", headers={"accept": "text/html"})
    assert answer.status_code == 500
    assert 'id="drawer"' in answer.text
    assert '<a class="btn btn-primary" href="/tokens/7?range=7d">Try again</a>' in answer.text
    assert answer.headers["x-request-id"] in answer.text
    none = await client.get("/nothing-here", headers={"accept": "text/html"})
    assert (none.status_code, "Try again" in none.text) == (404, False)


@pytest.mark.parametrize(("path", "status"), [("/tokens/7", 500), ("/nothing-here", 404)])
async def test_a_part_that_crashed_is_a_part_that_says_so(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await client.get(path, headers=PART)
    assert answer.status_code == status
    assert answer.text.lstrip().startswith('<div class="failed" role="alert">')
    assert f'href="{path}">Try again' in answer.text


async def test_a_form_that_crashed_keeps_what_was_typed_and_says_so(
    house: House, client: httpx.AsyncClient
) -> None:
    answer = await client.post(
        "/tokens/7/switch", data={"csrf_token": house.user.csrf_token}, headers={**OWN, **PART}
    )
    assert (answer.status_code, answer.headers["hx-reswap"], answer.text) == (500, "none", "")
    assert "went wrong on the server" in answer.headers["hx-trigger"]

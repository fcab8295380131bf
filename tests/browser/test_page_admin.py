"""The admin view in a real Chromium: users, aliases, connections, charts."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from admin_page import AdminPage, admin_page
from chromium import Chromium
from pages import NODE_MODULES
from playwright.async_api import expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from provider import Answer, Provider
from serving import LiveServer, Signed
from standing import Standing
from wire import Serve

#: What is told at once is not found by looking.
LOST_SECONDS: Final = 5
EVIL: Final = '"><img src=x onerror="document.title=1"><svg onload="document.title=1">'
_numbers = count(1)


@pytest.fixture(scope="module")
def chief(stand: Standing) -> Signed:
    return stand.server.user("the-chief", "admin")


@pytest.fixture
def page(chromium: Chromium, stand: Standing, chief: Signed) -> Iterator[AdminPage]:
    with admin_page(chromium, stand.server, chief) as page:
        yield page


def fresh() -> str:
    return f"person-{next(_numbers)}"


def login(server: LiveServer, name: str, password: str) -> httpx.Response:
    return httpx.post(f"{server.url}/login", json={"username": name, "password": password})


def me(server: LiveServer, who: Signed) -> int:
    return httpx.get(f"{server.url}/me", headers=who.headers).status_code


def socket_url(server: LiveServer, path: str) -> str:
    return "ws" + server.url.removeprefix("http") + path


def seen(chart: str) -> str:
    return f"document.querySelector('[data-testid=\"{chart}\"] svg')?.dataset.most"


def test_a_user_is_added_comes_in_and_is_put_out(page: AdminPage, stand: Standing) -> None:
    name = fresh()
    page.open("users")
    page.tab.do(page.find("admin-new-username").fill(name))
    page.click("admin-add")
    page.shown(page.user(name))
    password = page.text("admin-new-password")
    pair = login(stand.server, name, password)
    assert pair.status_code == 200
    headers = {"Authorization": f"Bearer {pair.json()['access_token']}"}
    with connect(socket_url(stand.server, "/ws"), additional_headers=headers, proxy=None) as socket:
        socket.send('{"type":"ping"}')
        socket.recv()
        page.act(name, "disable")
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=LOST_SECONDS)
        assert time.monotonic() - began < LOST_SECONDS
        assert socket.close_code == 4401
    page.tab.do(expect(page.user(name)).to_have_attribute("data-disabled", "true"))
    assert login(stand.server, name, password).status_code == 401
    page.act(name, "disable")
    page.tab.do(expect(page.user(name)).to_have_attribute("data-disabled", "false"))
    assert login(stand.server, name, password).status_code == 200


def test_a_password_is_made_anew_once_it_is_confirmed(page: AdminPage, stand: Standing) -> None:
    who = stand.server.user(fresh())
    page.open("users")
    page.act(who.username, "reset")
    page.tab.do(page.tab.page.keyboard.press("Escape"))
    page.gone(page.find("admin-confirm"))
    assert me(stand.server, who) == 200
    page.act(who.username, "reset")
    page.click("admin-confirm")
    page.shown(page.find("admin-new-password"))
    assert me(stand.server, who) == 401
    assert login(stand.server, who.username, who.password).status_code == 401
    assert login(stand.server, who.username, page.text("admin-new-password")).status_code == 200
    page.click("admin-copy-password")
    page.says("admin-copy-password", "Copied")


def test_users_are_found_given_a_role_and_deleted(page: AdminPage, stand: Standing) -> None:
    who, other = stand.server.user(fresh()), stand.server.user(fresh())
    page.open("users")
    page.shown(page.user(other.username))
    page.tab.do(page.find("admin-search").fill(who.username.upper()))
    page.gone(page.user(other.username))
    page.act(who.username, "role")
    page.shown(page.user(who.username).get_by_text("Make user"))
    stats = httpx.get(f"{stand.server.url}/api/admin/stats", headers=who.headers)
    assert stats.status_code == 200
    page.act(who.username, "delete")
    page.click("admin-confirm")
    page.gone(page.user(who.username))
    assert me(stand.server, who) == 401


def test_the_own_account_has_no_buttons_and_a_taken_name_is_told(
    page: AdminPage, chief: Signed
) -> None:
    page.open("users")
    page.shown(page.user(chief.username))
    assert page.tab.do(page.user(chief.username).get_by_role("button").count()) == 0
    page.tab.do(page.find("admin-new-username").fill(chief.username))
    page.click("admin-add")
    page.says("note", "taken")


def test_what_changes_nothing_leaves_the_focus_where_it_is(
    page: AdminPage, stand: Standing
) -> None:
    name = stand.server.user(fresh()).username
    page.open("users")
    button = page.user(name).get_by_test_id("admin-disable")
    page.tab.do(button.focus())
    page.tab.do(page.tab.page.keyboard.press("Enter"))
    page.tab.do(expect(page.user(name)).to_have_attribute("data-disabled", "true"))
    page.tab.do(expect(page.user(name).get_by_test_id("admin-disable")).to_be_focused())


def test_aliases_say_which_cannot_be_asked_and_are_read_anew(
    chromium: Chromium, serve: Serve, provider: Provider
) -> None:
    good = {"provider": "openai", "model": "test", "base_url": provider.url}
    bad = {"provider": "openai", "model": "gpt", "api_key_env": "NOBODY_HAS_IT"}
    aliases = {"chat/good": {**good, "fallbacks": ["chat/bad"]}, "chat/bad": bad}
    server = serve(models={"default": "chat/good", "aliases": aliases}, startup_check="off")
    provider.answer("test", Answer(["half"], cut_after=1))
    chief = server.user("chief", "admin")
    with httpx.Client(base_url=server.url, headers=chief.headers, timeout=30) as client:
        client.post("/chat", json={"message": "hi"})
    with admin_page(chromium, server, chief) as page:
        page.open("models")
        rows = page.find("admin-alias")
        page.tab.do(expect(rows).to_have_count(2))
        first, second = (page.tab.do(rows.nth(index).text_content()) or "" for index in range(2))
        assert "upstream_incomplete 1" in first
        assert "Stand in: chat/bad" in first
        assert "NOBODY_HAS_IT" in second
        marked = [page.tab.do(rows.nth(i).get_attribute("data-available")) for i in range(2)]
        assert marked == ["true", "false"]
        page.click("admin-reload")
        page.says("admin-reloaded", "NOBODY_HAS_IT")
        Path(server.settings.models_file).write_text("{")
        page.click("admin-reload")
        page.says("admin-reloaded", "Not taken")


def test_live_connections_come_and_go_and_run_nothing(page: AdminPage, stand: Standing) -> None:
    who = stand.server.user(fresh())
    headers: Any = {**who.headers}
    with connect(
        socket_url(stand.server, "/ws/talk"),
        additional_headers=headers,
        user_agent_header=EVIL,
        proxy=None,
    ) as socket:
        socket.recv()
        page.open("connections")
        row = page.find("admin-connection", has_text=who.username)
        page.shown(row)
        told = page.tab.do(row.text_content()) or ""
        assert EVIL in told
        assert "127.0.0.1" in told
    assert page.tab.run("document.querySelectorAll('.admin img, .admin-agent svg').length") == 0
    assert page.tab.run("document.title") != "1"
    page.open("overview")
    page.open("connections")
    page.gone(page.find("admin-connection", has_text=who.username))


def test_a_name_that_is_no_name_runs_nothing_where_it_is_told(page: AdminPage) -> None:
    page.open("users")
    field = page.find("admin-new-username")
    page.tab.do(field.fill(EVIL[:60]))
    page.click("admin-add")
    page.says("note", "username")
    page.tab.do(page.find("admin-search").fill(EVIL))
    page.says("admin-users-table", "Nobody")
    assert page.tab.run("document.querySelectorAll('.admin img').length") == 0
    assert page.tab.run("document.title") != "1"


def test_charts_show_what_was_answered_and_the_same_as_tables(
    page: AdminPage, stand: Standing
) -> None:
    with httpx.Client(
        base_url=stand.server.url, headers=stand.server.user(fresh()).headers, timeout=30
    ) as client:
        client.post("/chat", json={"message": stand.prompt(Answer(["hello"]))})
        client.post("/chat", json={"message": stand.prompt(Answer(["half"], cut_after=1))})
    page.open("users")
    page.open("overview")
    for by in ("hour", "day"):
        page.click(f"admin-by-{by}")
        page.tab.do(expect(page.find(f"admin-by-{by}")).to_have_attribute("aria-pressed", "true"))
        for chart in ("answers", "tokens", "first-token"):
            name = f"admin-chart-{chart}"
            page.until(lambda name=name: float(page.tab.run(seen(name)) or 0) > 0)
            page.shown(page.find(name).get_by_role("img"))
    rows = page.find("admin-chart-answers-table").locator("tbody tr")
    page.click(page.find("admin-chart-answers").locator("summary"))
    page.shown(rows.first)
    assert page.tab.do(rows.first.locator("td").count()) == 2
    page.says("admin-errors", "upstream_incomplete")


def test_the_tabs_are_walked_with_the_keyboard(page: AdminPage) -> None:
    page.tab.do(page.find("admin-tab-overview").focus())
    for key, view in (
        ("ArrowRight", "users"),
        ("End", "connections"),
        ("ArrowRight", "overview"),
        ("ArrowLeft", "connections"),
        ("Home", "overview"),
    ):
        page.tab.do(page.tab.page.keyboard.press(key))
        page.tab.do(expect(page.find(f"admin-tab-{view}")).to_be_focused())
        page.shown(page.find(f"admin-{view}"))


def test_it_speaks_portuguese(chromium: Chromium, stand: Standing, chief: Signed) -> None:
    with admin_page(chromium, stand.server, chief, locale="pt-BR") as page:
        page.says("admin-tab-overview", "Visão geral")
        page.open("users")
        page.shown(page.user(chief.username))
        assert "Última entrada" in page.text("admin-users-table")


def test_it_asks_only_while_it_is_shown(page: AdminPage) -> None:
    def asked() -> list[str]:
        # The page's connections ask for other things, as soon as the clock has jumped.
        return [url for url in page.tab.requested if "/api/admin/" in url]

    page.tab.do(page.tab.page.clock.install())
    page.tab.run("admin.hide()")
    before = len(asked())
    page.tab.run("admin.show()")
    page.until(lambda: len(asked()) == before + 2)
    assert "admin/usage?by=hour" in asked()[before]
    page.tab.do(page.tab.page.clock.run_for(11_000))
    page.until(lambda: len(asked()) == before + 4)
    page.tab.run("admin.hide()")
    page.tab.do(page.tab.page.clock.run_for(60_000))
    assert asked()[before + 4 :] == []


def test_who_is_no_admin_sees_nothing(chromium: Chromium, stand: Standing) -> None:
    with admin_page(chromium, stand.server, stand.server.user(fresh())) as page:
        page.says("admin-fault", "for admins")
        page.open("users")
        page.says("admin-fault", "for admins")
        assert page.tab.do(page.find("admin-user").count()) == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.usefixtures("npm_packages")
def test_nothing_serious_stands_in_the_way_of_anybody(
    chromium: Chromium, stand: Standing, chief: Signed, theme: Any, width: int
) -> None:
    axe = (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    size: Any = {"width": width, "height": 900}
    with admin_page(chromium, stand.server, chief, color_scheme=theme, viewport=size) as page:
        page.tab.run(axe)
        for view in ("overview", "users", "models", "connections"):
            page.open(view)
            page.shown(page.find(f"admin-{view}").locator("tbody tr").last)
            found = page.tab.run(
                "axe.run(document.querySelector('.admin')).then(r => r.violations)"
            )
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
            assert page.tab.run("document.documentElement.scrollWidth") <= width

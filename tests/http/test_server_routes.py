"""What tells of the server itself, and what every answer has."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from provider import Provider
from runnel import __version__
from serving import LiveServer, Signed
from wire import NOBODYS_ID, House, Serve, bearer, models_of, problem

SECRET: Final = "a secret of production, long enough to sign"
METRICS_TOKEN: Final = "the token of the metrics' reader"
ORIGIN: Final = "https://page.example"
PAGES: Final = ("/", "/docs", "/redoc")


@pytest.fixture
def http(serve: Serve) -> Iterator[Callable[..., httpx.Client]]:
    """Clients of new servers with settings of the test's."""
    clients: list[httpx.Client] = []

    def start(**changes: Any) -> httpx.Client:
        clients.append(httpx.Client(base_url=serve(**changes).url))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_monitors_may_ask_with_head(house: House, path: str) -> None:
    answer = house.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_page_stands_below_whatever_path_there_is(http: Callable[..., httpx.Client]) -> None:
    client = http(root_path="/chat-server/")
    # As a proxy sends it that takes the prefix off, and as one that does not.
    for path in ("/", "/chat-server/", "/docs", "/chat-server/docs"):
        assert client.get(path).headers["content-type"].startswith("text/html")
    for path in ("/api/generate", "/chat-server/api/generate"):
        detail = problem(client.get(path), 405, "method_not_allowed")["detail"]
        assert str(client.base_url.join("/chat-server/api/generate")) in detail


@pytest.mark.parametrize("path", ["/", "/client.js", "/page/app/main.js"])
def test_what_a_browser_reads_has_a_head(house: House, path: str) -> None:
    """For whoever looks whether it is there."""
    head, answer = house.http.head(path), house.http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "content-security-policy", "etag"):
        assert head.headers.get(name) == answer.headers.get(name)


def test_any_page_may_import_the_client(house: House) -> None:
    answer = house.http.get("/client.js", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "import " not in re.sub(r"/\*.*?\*/", "", answer.text, flags=re.DOTALL)  # it is whole
    known = {"If-None-Match": answer.headers["etag"]}
    assert house.http.get("/client.js", headers=known).status_code == 304


def test_the_server_is_alive(house: House) -> None:
    answer = house.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_server_is_ready(house: House) -> None:
    answer = house.http.get("/readyz")
    components = {"database": "ok", "chat": "ok"}
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "components": components})


def moved_away(server: LiveServer) -> Path:
    """Takes the database away from a running server; where it is now."""
    reports: Any = server.server.parts.reports
    server.call(reports._database.close())
    file = server.settings.data_dir / "runnel.db"
    away = file.rename(file.with_name("away.db"))
    for more in ("-wal", "-shm"):
        file.with_name(file.name + more).unlink(missing_ok=True)
    file.mkdir()
    return away


def test_without_its_database_the_server_is_alive_but_not_ready(serve: Serve) -> None:
    # The watch must not open the database while it is being moved.
    server = serve(revocation_check_seconds=3600)
    ada = server.user("ada")
    with httpx.Client(base_url=server.url) as http:
        away = moved_away(server)
        answer = http.get("/readyz")
        components = {"database": "unavailable", "chat": "ok"}
        assert answer.status_code == 503
        assert answer.json() == {"status": "unavailable", "components": components}
        assert http.get("/healthz").status_code == 200
        login = {"username": ada.username, "password": ada.password}
        for refused in (
            http.get("/me", headers=ada.headers),
            http.post("/chat", json={"message": "hi"}, headers=ada.headers),
            http.post("/api/generate", json={"message": "hi"}, headers=ada.headers),
            http.post("/login", json=login),
        ):
            problem(refused, 503, "store_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
        file = server.settings.data_dir / "runnel.db"
        file.rmdir()
        away.rename(file)
        assert http.get("/readyz").status_code == 200
        assert http.get("/me", headers=ada.headers).status_code == 200


def test_a_server_that_is_leaving_is_not_ready_and_takes_no_question(serve: Serve) -> None:
    server = serve()
    ada = server.user("ada")
    server.call(server.server.drain())
    with httpx.Client(base_url=server.url) as http:
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["components"] == {"database": "ok", "chat": "unavailable"}
        refused = http.post("/chat", json={"message": "hi"}, headers=ada.headers)
        problem(refused, 503, "shutting_down")
        assert int(refused.headers["retry-after"]) >= 1


def test_the_models_are_listed_for_everybody(serve: Serve, provider: Provider) -> None:
    models = models_of(provider)
    models["aliases"]["chat/keyless"] = {
        "provider": "openai",
        "model": "m",
        "api_key_env": "A_KEY_THAT_NOBODY_HAS_SET",
    }
    with httpx.Client(base_url=serve(models=models).url) as http:
        assert http.get("/models").json() == {
            "default": "chat/test",
            "models": [
                {"alias": alias, "provider": "openai", "model": model, "available": available}
                for alias, model, available in (
                    ("chat/test", "test", True),
                    ("chat/gated", "gated", True),
                    ("chat/keyless", "m", False),
                )
            ],
        }


def test_without_any_model_there_is_the_demo(http: Callable[..., httpx.Client]) -> None:
    demo = {"alias": "builtin/demo", "provider": "builtin", "model": "demo", "available": True}
    assert http().get("/models").json() == {"default": "builtin/demo", "models": [demo]}


def test_metrics_are_open_in_development(house: House, ada: Signed) -> None:
    house.ask(ada)
    problem(house.http.get("/me"), 401, "unauthorized")
    house.http.request("PROPFIND", f"/api/generations/{NOBODYS_ID}")
    house.http.get(f"/nothing/{ada.username}")
    answer = house.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'runnel_http_requests_total{method="POST",route="/chat",status="200"}',
        'runnel_http_requests_total{method="GET",route="/me",status="401"}',
        'runnel_http_requests_total{method="GET",route="unmatched",status="404"}',
        'runnel_errors_total{code="unauthorized"}',
        'runnel_generations_total{status="completed"}',
    ):
        assert re.search(rf"^{re.escape(line)} \d", answer.text, re.MULTILINE)
    for unbounded in ("PROPFIND", ada.username, NOBODYS_ID):
        assert unbounded not in answer.text


def test_metrics_in_production_are_for_admins_and_for_their_token(serve: Serve) -> None:
    server = serve(environment="production", jwt_secret=SECRET, metrics_token=METRICS_TOKEN)
    user, admin = server.user("ada"), server.user("root", "admin")
    with httpx.Client(base_url=server.url) as http:
        cases: list[tuple[Any, int]] = [
            ({}, 401),
            (bearer("garbage"), 401),
            ({"Authorization": b"Bearer \xff"}, 401),
            ({"Authorization": f"Basic {METRICS_TOKEN}"}, 401),
            (bearer(METRICS_TOKEN[:-1]), 401),
            (user.headers, 403),
            (admin.headers, 200),
            (bearer(METRICS_TOKEN), 200),
        ]
        for headers, status in cases:
            answer = http.get("/metrics", headers=headers)
            assert answer.status_code == status
            assert ("runnel_http_requests" in answer.text) is (status == 200)
            assert ("www-authenticate" in answer.headers) is (status == 401)
        problem(http.get("/me", headers=bearer(METRICS_TOKEN)), 401, "unauthorized")


def test_without_a_metrics_token_an_empty_one_opens_nothing(
    http: Callable[..., httpx.Client],
) -> None:
    client = http(environment="production", jwt_secret=SECRET)
    for token in ("None", "x", "*"):
        problem(client.get("/metrics", headers=bearer(token)), 401, "unauthorized")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        "/docs/assets/../../app.py",
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/jsconfig.json",
        "/%00",
        "/%ff",
    ],
)
def test_what_is_not_there_is_a_404_problem(house: House, path: str) -> None:
    problem(house.http.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/chat", "POST"),
        ("DELETE", "/chat", "POST"),
        ("POST", "/models", "GET"),
        ("GET", "/login", "POST"),
        ("PROPFIND", "/healthz", "GET"),
        ("OPTIONS", "/chat", "POST"),
    ],
)
def test_another_method_is_a_405_problem_that_names_the_right_one(
    house: House, method: str, path: str, allow: str
) -> None:
    answer = house.http.request(method, path)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


def test_an_unforeseen_fault_is_a_500_problem_without_a_trace(
    house: House, ada: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret of the server's inside")

    monkeypatch.setattr(house.server.server.parts.accounts, "me", fail)
    answer = house.http.get("/me", headers=ada.headers)
    problem(answer, 500, "internal")
    for inside in ("Traceback", "ZeroDivisionError", "secret", ".py"):
        assert inside not in answer.text
    has_the_security_headers(answer)


def has_the_security_headers(answer: httpx.Response) -> None:
    headers = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["x-request-id"])
    assert "server" not in headers


def test_every_kind_of_answer_has_the_security_headers(house: House, ada: Signed) -> None:
    signed: Any = {"headers": ada.headers}
    hello = {"message": "hi"}
    key = house.http.post("/api/keys", **signed).json()["id"]
    kinds = {
        200: house.http.get("/me", **signed),
        201: house.http.post("/api/keys", **signed),
        204: house.http.delete(f"/api/keys/{key}", **signed),
        307: house.http.get("/docs/"),
        401: house.http.get("/me"),
        403: house.http.post("/register", json={"username": "a", "password": "b"}),
        404: house.http.get("/nothing"),
        405: house.http.get("/chat"),
        409: house.http.delete("/me", headers=admin_of(house)),
        413: house.http.post("/chat", json={"message": "x" * 5001}, **signed),
        422: house.http.post("/chat", json={}, **signed),
    }
    assert {status: answer.status_code for status, answer in kinds.items()} == {
        status: status for status in kinds
    }
    stream = house.http.post("/api/generate", json=hello, **signed)
    more = [house.http.get(path) for path in (*PAGES, "/models", "/metrics", "/openapi.json")]
    for answer in (*kinds.values(), stream, *more):
        has_the_security_headers(answer)
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert kinds[200].headers["cache-control"] == "no-store"


def admin_of(house: House) -> dict[str, str]:
    return bearer(house.server.call(house.server.server.administration.issue_token("admin")))


@pytest.mark.parametrize("id_", ["a", "A-b_c.9", "x" * 64])
def test_a_fit_request_id_is_kept(house: House, id_: str) -> None:
    assert house.http.get("/healthz", headers={"X-Request-Id": id_}).headers["x-request-id"] == id_
    assert house.http.get("/me", headers={"X-Request-Id": id_}).json()["request_id"] == id_


@pytest.mark.parametrize("id_", ["", "x" * 65, "a b", "a\tb", '"', "\xfc", "a;b", "../x"])
def test_an_unfit_request_id_is_replaced(house: House, id_: str) -> None:
    answer = house.http.get("/healthz", headers=[(b"X-Request-Id", id_.encode("latin-1"))])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("root_path", ["", "/prefix"])
def test_the_pages_load_what_they_need_and_from_nowhere_else(
    http: Callable[..., httpx.Client], root_path: str, page: str
) -> None:
    client = http(root_path=root_path)
    answer = client.get(f"{root_path}{page}")
    assert answer.headers["content-type"].startswith("text/html")
    assert "//" not in answer.text
    linked: list[str] = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(linked) >= 3
    for link in linked:
        url = urljoin(str(answer.url), link)
        assert urlsplit(url).netloc == urlsplit(str(client.base_url)).netloc
        asset = client.get(url)
        assert asset.status_code == 200
        assert asset.content
        assert ("immutable" in asset.headers["cache-control"]) is ("/docs/assets/" in url)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "http" not in policy


def test_the_document_says_who_may_call_what(house: House) -> None:
    document = house.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert document["info"]["version"] == __version__
    schemes = document["components"]["securitySchemes"]
    assert schemes["Bearer"]["scheme"] == "bearer"
    assert schemes["Password"]["flows"]["password"]["tokenUrl"] == "token"
    public = {"/login", "/token", "/register", "/refresh", "/healthz", "/readyz", "/models"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            open_to_all = path in public | {"/metrics"}
            assert bool(operation.get("security")) is not open_to_all, path


@pytest.fixture(scope="module")
def preflight() -> dict[str, str]:
    return {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-request-id",
    }


def test_a_page_of_an_allowed_origin_may_ask(
    serve: Serve, provider: Provider, preflight: dict[str, str]
) -> None:
    server = serve(models=models_of(provider), cors_origins=f"{ORIGIN}/, http://localhost:3000")
    ada = server.user("ada")
    with httpx.Client(base_url=server.url) as http:
        allowed = http.options("/chat", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in allowed.headers["access-control-allow-methods"]
        origin = {"Origin": ORIGIN}
        for answer in (
            http.post("/chat", json={"message": "hi"}, headers=ada.headers | origin),
            http.post("/api/generate", json={"message": "hi"}, headers=ada.headers | origin),
            http.post("/chat", json={}, headers=ada.headers | origin),
            http.get("/me", headers=origin),
            http.get("/nothing", headers=origin),
        ):
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            shown = answer.headers["access-control-expose-headers"]
            assert {"X-Session-Id", "X-Request-Id", "Retry-After"} <= set(shown.split(", "))
            assert "access-control-allow-credentials" not in answer.headers
            has_the_security_headers(answer)
        stranger = http.get("/models", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in stranger.headers
        refused = http.options("/chat", headers=preflight | {"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_without_cors_origins_no_other_page_may_ask(
    house: House, preflight: dict[str, str]
) -> None:
    for answer in (
        house.http.options("/chat", headers=preflight),
        house.http.get("/models", headers={"Origin": ORIGIN}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]

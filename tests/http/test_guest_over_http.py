"""With anonymous access, who brings no credentials is the guest, who can do others no harm."""

import httpx

from provider import Answer, Provider
from wire import (
    OpenStream,
    Serve,
    models_of,
    problem,
)


def test_with_anonymous_access_who_comes_without_credentials_is_the_guest(serve: Serve) -> None:
    server = serve(anonymous_access=True)
    with httpx.Client(base_url=server.url) as http:
        me = http.get("/me").json()
        assert (me["username"], me["role"]) == ("guest", "user")
        assert http.post("/chat", json={"message": "hi"}).json()["finish_reason"] == "stop"
        for header in ("Bearer garbage", "Basic Og==", ""):
            answer = http.get("/me", headers={"Authorization": header})
            problem(answer, 401, "unauthorized")
        problem(http.post("/logout"), 409, "conflict")
        problem(http.post("/api/keys", json={"name": "k"}), 403, "forbidden")
        password = {"current_password": "!", "new_password": "a password of mine"}
        problem(http.post("/me/password", json=password), 403, "forbidden")
        problem(http.delete("/me"), 403, "forbidden")
        assert http.get("/me").json()["id"] == me["id"]


def test_one_guest_cannot_abort_anothers_answer(serve: Serve, provider: Provider) -> None:
    provider.answer("test", Answer(pieces=("first", " second"), gate_after=1))
    server = serve(models=models_of(provider), anonymous_access=True)
    with (
        httpx.Client(base_url=server.url) as http,
        http.stream("POST", "/api/generate", json={"message": "hi"}) as response,
    ):
        stream = OpenStream(response)
        problem(httpx.delete(f"{server.url}/me"), 403, "forbidden")
        provider.release()
        assert "data:  second" in stream.to_the_end()

"""A user who talks in sessions: what tests of sessions say, and what they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from provider import Answer
from serving import Signed
from wire import House, problem

Json = dict[str, Any]
SESSIONS: Final = "/api/chat/sessions"


@dataclass(frozen=True, slots=True)
class Talker:
    house: House
    signed: Signed

    def call(
        self, method: str, path: str, body: Json | None = None, **params: Any
    ) -> httpx.Response:
        """Any request of this user's."""
        headers = self.signed.headers
        return self.house.http.request(method, path, json=body, params=params, headers=headers)

    def ok(self, method: str, path: str, body: Json | None = None, **params: Any) -> Json:
        """The same, which has to go well."""
        response = self.call(method, path, body, **params)
        assert response.is_success, response.text
        return response.json() if response.content else {}

    def refused(
        self,
        status: int,
        code: str,
        method: str,
        path: str,
        body: Json | None = None,
        **params: Any,
    ) -> Json:
        """The same, which has to be refused so."""
        response = self.call(method, path, body, **params)
        more = set(response.json()) & {"errors", "generation_id", "events_url", "abort_url"}
        return problem(response, status, code, more=more)

    def session(self, **body: Any) -> Json:
        return self.ok("POST", SESSIONS, body)

    def say(self, text: str, session: str, answer: str = "Well.", **body: Any) -> Json:
        """Asks in a session, and gets that answer."""
        self.house.provider.answer("test", Answer([answer]))
        return self.ok("POST", "/chat", {"message": text, "session_id": session, **body})

    def messages(self, session: str, **params: Any) -> list[Json]:
        """All pages."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            here: Json = params if cursor is None else {**params, "cursor": cursor}
            page = self.ok("GET", f"{SESSIONS}/{session}/messages", **here)
            found += page["messages"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def texts(self, session: str, **params: Any) -> Sequence[str]:
        return [message["content"] for message in self.messages(session, **params)]

    def sessions(self, **params: Any) -> list[Json]:
        """All pages."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            here: Json = params if cursor is None else {**params, "cursor": cursor}
            page = self.ok("GET", SESSIONS, **here)
            found += page["sessions"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def regenerate(self, session: str, message_id: str, answer: str, **body: Any) -> Json:
        self.house.provider.answer("test", Answer([answer]))
        return self.ok("POST", f"{SESSIONS}/{session}/messages/{message_id}/regenerate", body)

    def edit(self, session: str, message_id: str, content: str, answer: str, **body: Any) -> Json:
        self.house.provider.answer("test", Answer([answer]))
        path = f"{SESSIONS}/{session}/messages/{message_id}/edit"
        return self.ok("POST", path, {"content": content, **body})

"""The three sockets as doors to an answer: what a client sends there, and what it is told, alike."""

from typing import Final

from standing import Json

#: Each is one dialect.
SOCKETS: Final = ("ws completions", "ws session", "ws user")
#: Why an answer itself fails; any other error leaves it as it is.
_FAILURES: Final = ("upstream_", "interrupted")


def path_at(door: str, session: str) -> str:
    """Where it is opened; only one of them is of a session."""
    match door:
        case "ws completions":
            return "/ws/chat/completions"
        case "ws session":
            return f"/ws/{session}"
        case _:
            return "/ws"


def question_at(door: str, text: str, *, session: str = "", key: str = "", **more: object) -> Json:
    """The frame that asks; without a session, in a new one."""
    frame: Json
    match door:
        case "ws completions":
            frame = {"question": text, "session_id": session}
        case "ws session":
            frame = {"type": "message", "content": text}
        case _:
            frame = {"action": "send_message", "content": text, "chat_id": session}
    frame |= {"client_message_id": key} | more
    return {name: value for name, value in frame.items() if value != ""}


def abort_at(door: str, generation_id: str) -> Json:
    """The frame that stops an answer."""
    match door:
        case "ws completions":
            return {"type": "abort"}
        case "ws session":
            return {"type": "abort", "generation_id": generation_id}
        case _:
            return {"action": "abort", "task_id": generation_id}


def event_of(frame: Json) -> tuple[str, Json] | None:
    """The event that a frame tells, by its name over HTTP; None for one that tells of none."""
    told: tuple[str, Json] | None = None
    match frame:
        case {"type": "start" | "stream_start" | "task"}:
            told = "start", frame
        case (
            {"type": "token", "text": str(text)}
            | {"type": "token", "token": str(text)}
            | {"type": "stream_chunk", "content": str(text)}
        ):
            told = "token", {"text": text}
        case (
            {"type": "end" | "stream_end"}
            | {"type": "message", "message": {"is_ai": True}}
            | {"type": "message", "content": str()}
        ):
            told = "end", frame
        case {"type": "reset" | "aborted" as name}:
            told = name, frame
        case {"type": "error", "code": str(code)} if code.startswith(_FAILURES):
            told = "failed", frame
        case _:
            pass
    return told

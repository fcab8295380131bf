"""A question in the words of Bedrock's Converse API: options, tools, and what it has no words for."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from runnel.chat.entities import Image, Params, Turn
from runnel.errors import Code, RunnelError
from runnel.events import ToolCall

#: The kinds of images that Converse knows.
_IMAGE: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,(.+)", re.DOTALL)
_NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def call_options(params: Params) -> dict[str, Any]:
    """The params by the names that ChatBedrockConverse knows. Raises RunnelError."""
    named = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
        "stop": list(params.stop) or None,
    }
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if tools := params.passed.get("tools"):
        options["tools"] = [_tool(tool) for tool in tools]
        if choice := _tool_choice(params.passed.get("tool_choice")):
            options["tool_choice"] = choice
    return options


def _tool(tool: Any) -> dict[str, Any]:
    """OpenAI's form of a tool as Converse's.

    LangChain would do it too, but puts names in the schema into another spelling.
    """
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            function = cast("dict[str, Any]", tool["function"])
        case _:
            raise _refusal("bedrock takes `tools` of the type function only.", "tools")
    spec: dict[str, Any] = {
        "name": name,
        "description": function.get("description") or name,
        "inputSchema": {"json": function.get("parameters") or _NO_ARGUMENTS},
    }
    return {"toolSpec": spec | ({"strict": True} if function.get("strict") else {})}


def _tool_choice(choice: Any) -> Any:
    """OpenAI's words for it as Converse's; nothing for what every model does of itself."""
    match choice:
        case "auto" | None:
            return None  # said aloud, some models refuse even that
        case "required":
            return {"any": {}}
        case {"function": {"name": name}}:
            return {"tool": {"name": name}}
        case _:
            raise _refusal(
                "bedrock takes `tool_choice` as auto, required or one function.", "tool_choice"
            )


def refuse_unspeakable(turns: Sequence[Turn]) -> None:
    """Raises RunnelError for what Converse has no words for."""
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, Image):
                _refuse_image(part)
        for call in turn.tool_calls:
            _refuse_call(call)


def _refuse_image(image: Image) -> None:
    found = _IMAGE.fullmatch(image.url)
    try:
        if found and base64.b64decode(found[1], validate=True):
            return
    except binascii.Error:
        pass
    raise _refusal(
        "bedrock takes images as data: URLs only, of PNG, JPEG, GIF or WebP in base64.", "messages"
    )


def _refuse_call(call: ToolCall) -> None:
    try:
        if isinstance(json.loads(call.arguments or "{}"), dict):
            return
    except (ValueError, RecursionError):
        pass
    raise _refusal("bedrock takes the arguments of a tool call as a JSON object only.", "messages")


def _refusal(message: str, field: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field=field)

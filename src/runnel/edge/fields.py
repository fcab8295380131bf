"""What to say of a field that a body does not take: where it belongs, or whose it is to set."""

from typing import Final

_PARAMS: Final = ("temperature", "top_p", "max_tokens", "seed", "stop", "json_mode")
_SERVER: Final = ("base_url", "api_key")
_BESIDE_PARAMS: Final = (
    *("model", "format", "background", "on_disconnect", "client_message_id"),
    *("message", "prompt", "messages", "session_id", "attachments"),
)


def unknown_field(path: str) -> str:
    """The message for an unknown field, named by its path as `params.base_url`."""
    name = path.rpartition(".")[2]
    if name in _PARAMS and "." not in path:
        return f'belongs into `params`: {{"params": {{"{name}": …}}}}'
    if path == f"params.{name}" and name in _BESIDE_PARAMS:
        return "stands beside `params`, not in it"
    if name in _SERVER:
        return "is the server's to set, in config/models.json"
    return "is not a field of this request"

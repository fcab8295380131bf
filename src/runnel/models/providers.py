"""What providers take and where they are, as far as that is known before their clients are loaded."""

from collections.abc import Mapping
from typing import Final

#: Providers known by name: where they are, and the variable that holds the key.
PRESETS: Final[Mapping[str, tuple[str, str]]] = {
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
}
#: The demo's words are fixed: temperature, top_p and seed have nothing to act on, and so hold.
BUILTIN_TAKES: Final = frozenset(
    {"temperature", "top_p", "max_tokens", "seed", "stop", "json_mode"}
)
#: What OpenAI's wire has words for, beside our own params.
_PASSED: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "tool_choice",
        "tools",
        "user",
        "verbosity",
    }
)
OPENAI_TAKES: Final = _PASSED | {
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "json_mode",
    "images",
}

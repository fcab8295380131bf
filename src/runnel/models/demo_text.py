"""What the demo model says: about this server, as the prompt and the history suggest."""

import re
from collections.abc import Sequence
from typing import Final

_MOST_COUNTED: Final = 5000
_QUOTED: Final = 160

_TOPICS: Final[Sequence[tuple[str, str]]] = (
    (
        r"\b(stream\w*|sse|eventsource|curl|token by token)\b",
        (
            "You are reading a stream: `POST /api/generate` sends each piece as a `data:` line the "
            "moment the model has made it, and `data: [DONE]` at the end. `curl -N` shows it as it "
            'comes. Ask with `"format": "events"` and every piece carries its position.'
        ),
    ),
    (
        r"\b(json|non-?streaming|one piece|whole)\b",
        (
            '`POST /chat` with `{"message": "…"}` answers with one JSON object: the text, the '
            'model, the reason why it ended and the tokens it took. Add `"stream": true` for a '
            "stream instead."
        ),
    ),
    (
        r"\b(sessions?|remember\w*|history|context|conversation)\b",
        (
            "Send the same `session_id` again and the talk goes on: an id from `X-Session-Id`, or any "
            "name you choose. The history is kept in the database and fitted to the model's budget."
        ),
    ),
    (
        r"\b(models?|alias\w*|openai|ollama|llama\S*|vllm|key|connect)\b",
        (
            "Models are aliases. `GET /models` lists them; `config/models.json` names more, each with "
            "a provider, a model and, for a local server, a `base_url`."
        ),
    ),
    (
        r"\b(limits?|rate|quota|429)\b",
        (
            "Each user may ask so many questions a minute, over every door together. The headers "
            "`X-RateLimit-Limit`, `-Remaining` and `-Reset` say where you stand."
        ),
    ),
    (
        r"\b(leave|disconnect\w*|refresh|lost|crash\w*|break\w*|resume)\b",
        (
            "Close this connection now and nothing is lost: the answer goes on without you and is "
            "stored whole. `GET /api/generations/{id}` gives it, with the id from `X-Generation-Id`."
        ),
    ),
    (
        r"\b(login|password|users?|auth\w*|register|jwt)\b",
        (
            "`POST /login` gives an access token and a refresh token; `POST /api/keys` gives a "
            "long-lived key for scripts. `runnel users` adds, lists and disables accounts."
        ),
    ),
)
_OVERVIEW: Final = (
    "What works here: streaming (`POST /api/generate`), one JSON answer (`POST /chat`), sessions "
    "that remember, limits per user, and answers that are kept even if you leave in the middle. "
    "Try `/docs` for all of it, or ask me to `count to 200` and watch."
)
_CONNECT: Final = (
    "To connect a real model, put `OPENAI_API_KEY=…` into `.env` (and `OPENAI_BASE_URL=…` for "
    "Ollama, vLLM, llama.cpp or any server of that kind) and start again."
)


def compose(messages: Sequence[tuple[str, str]]) -> str:
    """The answer to the last `human` message. Messages are (LangChain type, text), oldest first."""
    asked = [text for kind, text in messages if kind == "human"]
    prompt = asked[-1] if asked else ""
    count = re.search(r"\bcount (?:up )?to (\d{1,7})\b", prompt, re.IGNORECASE)
    if count:
        return _count_to(min(int(count[1]), _MOST_COUNTED))
    parts = [f"You asked: “{_quote(prompt)}”.", _opening(asked)]
    parts += [text for pattern, text in _TOPICS if re.search(pattern, prompt, re.IGNORECASE)] or [
        _OVERVIEW
    ]
    return "\n\n".join([*parts, _CONNECT])


def _opening(asked: Sequence[str]) -> str:
    demo = "I am Runnel's built-in demo, no language model: my words are fixed, but the way they reach you is real."
    if len(asked) < 2:  # noqa: PLR2004 - no earlier question
        return demo
    return (
        f"{demo} This is question {len(asked)} of our session;"
        f" before it you asked “{_quote(asked[-2])}”."
    )


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED else line[: _QUOTED - 1] + "…"


def _count_to(last: int) -> str:
    return "\n".join(str(number) for number in range(1, last + 1))

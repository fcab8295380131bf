"""Structured logs: one line an event, on standard error, with no secret and no forged line in it."""

import logging
import logging.config
import re
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final, cast

import structlog
from typing_extensions import override

from runnel.telemetry.plain_lines import plain_lines

#: Each branch takes all it has looked at, so that no input is looked at twice: what is logged
#: comes from anybody.
_TOKENS: Final = re.compile(
    r"(?i)(bearer\s+)[^\s\"',]+"
    r"|\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"
    r"|\b(?:rnl_|sk-|gsk_|fw_)[A-Za-z0-9_-]{8,}"
)
#: What forges lines or drives a terminal: C0 and C1 but the tab, line separators, direction marks.
_CONTROLS: Final = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
#: The query in uvicorn's line of a WebSocket's handshake, up to the quote that ends the line's path:
#: what the peer sends may hold a quote of its own.
_QUERY: Final = re.compile(r"\?.*?(?=\" (?:\[accepted\]|\d{3})$|$)", re.DOTALL)
_SHORTEST_SECRET: Final = 6
#: What is written as it is.
_PLAIN: Final = (str, int, float, type(None))

Event = MutableMapping[str, Any]

_SHARED: Final[list[structlog.typing.Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
#: One list for good: loggers keep it, however often logs are configured.
_PROCESSORS: Final = [*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]


def configure(*, level: str, as_json: bool, secrets: Iterable[str]) -> None:
    """Sends every log of the process, the libraries' too, through one form.

    `secrets` are values that must never be written; what looks like a token never is either.
    """
    wanted = logging.getLevelNamesMapping()[level.upper()]
    # No line says any of it, and each would look it up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Nor where in the code it was said, which takes longest: logging's documentation says so.
    logging._srcfile = None  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    render: structlog.typing.Processor
    if as_json:
        render = structlog.processors.JSONRenderer()
    elif sys.stderr.isatty():
        render = structlog.dev.ConsoleRenderer(colors=True)
    else:
        render = plain_lines()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "runnel": {
                    "()": _Formatter,
                    "foreign_pre_chain": _SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        _redactor(secrets),
                        render,
                    ],
                }
            },
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stderr",
                    "formatter": "runnel",
                }
            },
            # Below a warning libraries speak to whoever works on them: every statement with its
            # values, every prompt, every frame.
            "root": {"handlers": ["stderr"], "level": max(wanted, logging.WARNING)},
            "loggers": {
                "runnel": {"level": wanted},
                # Where uvicorn was started by itself, it has kept its lines from going further up.
                "uvicorn": {"level": max(wanted, logging.INFO), "propagate": True},
                # Its lines show queries, which may hold tokens; the doors write lines of their own.
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Else each line would look up the frames to its caller for its logger's name.
        cache_logger_on_first_use=True,
    )


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """The same for lines of our own, without making each record anew."""

    def __init__(self, processors: Iterable[structlog.typing.Processor], **options: Any) -> None:
        super().__init__(processors=[*processors], **options)
        # The first of them only takes away what is put there for the libraries' lines.
        self._own = tuple(self.processors[1:])

    @override
    def format(self, record: logging.LogRecord) -> str:
        said: object = record.msg
        if not isinstance(said, dict):
            return super().format(record)
        event: Event = {**cast("Event", said)}
        for process in self._own:
            event = cast("Event", process(None, record.levelname, event))
        return cast("str", event)


def concealing(secrets: Iterable[str]) -> Callable[[str], str]:
    """What takes these out of a text, and what looks like a token."""
    # The longest first, should one secret hold another.
    known = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def conceal(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[secret]")
        return _TOKENS.sub(lambda match: f"{match[1] or ''}[secret]", text)

    return conceal


def _redactor(secrets: Iterable[str]) -> structlog.typing.Processor:
    conceal = concealing(secrets)

    def clean(text: str, *, lines: bool) -> str:
        text = conceal(text)
        return text if lines else _CONTROLS.sub(_escape, text)

    def redact(_logger: object, _method: str, event: Event) -> Event:
        if str(event.get("logger")).startswith("uvicorn"):
            # Not only what looks like a token: a broken one, or another server's, does not.
            event["event"] = _QUERY.sub("", str(event["event"]))
        # Most lines have nothing in them: that is seen at once of all their words together.
        words = " ".join([str(value) for value in event.values()])
        if conceal(words) == words and not _CONTROLS.search(words):
            return {
                key: value if isinstance(value, _PLAIN) else str(value)
                for key, value in event.items()
            }
        return {key: _walk(value, clean, lines=key == "exception") for key, value in event.items()}

    return redact


def _walk(value: object, clean: Callable[..., str], *, lines: bool) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case _:
            return clean(str(value), lines=lines)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()

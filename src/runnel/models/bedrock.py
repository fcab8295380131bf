"""Models of AWS Bedrock, through ChatBedrockConverse: one thread a stream, ended when it is left."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from langchain_aws import ChatBedrockConverse

from runnel.chat.entities import Image, Params, Turn
from runnel.chat.ports import Piece
from runnel.errors import Code, RunnelError, StartupError
from runnel.models.bedrock_errors import translate
from runnel.models.langchain import Entry, LangChainModel, Ping, Speak
from runnel.models.messages import messages_of
from runnel.models.pieces import Pieces
from runnel.models.threads import from_thread

TAKES: Final = frozenset(
    {"temperature", "top_p", "max_tokens", "stop", "images", "tools", "tool_choice"}
)
_CONNECT_SECONDS: Final = 10
#: The producer's own patience ends sooner; this bounds a thread whose answer has no headers yet.
_READ_SECONDS: Final = 300
#: Where the streams that one thread has opened are kept, for whoever has to end them.
_opened: ContextVar[list[Any] | None] = ContextVar("opened", default=None)


class _Client:
    """boto3's client, which remembers the streams it opens: only they can be ended."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def converse_stream(self, **request: Any) -> Any:
        response = self._client.converse_stream(**request)
        opened = _opened.get()
        if opened is not None:
            opened.append(response["stream"])
        return response


class BedrockFamily:
    """Builds models that share threads, and a client for each region and profile.

    `most_streams` answers are read at a time; who comes later waits for a thread.
    """

    def __init__(self, *, region: str | None, endpoint_url: str | None, most_streams: int) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._most_streams = most_streams
        self._threads = ThreadPoolExecutor(most_streams, thread_name_prefix="bedrock")
        self._clients: dict[tuple[str | None, str | None], Any] = {}

    def build(self, entry: Entry, *, region: str | None, profile: str | None) -> LangChainModel:
        """Raises StartupError for a profile that does not exist, or where no region is known."""
        client = self._client(entry.alias, region or self._region, profile)
        chat_model = ChatBedrockConverse(
            model=entry.provider_model,
            region_name=client.meta.region_name,
            client=_Client(client),
            # Of the control plane, which is asked for inference profiles of an application only.
            bedrock_client=self._control_plane(entry.provider_model, region, profile),
        )
        ping = partial(self._ping, entry.alias, client, entry.provider_model)
        return LangChainModel(
            entry,
            self._speaking(chat_model),
            partial(translate, entry.alias),
            Ping((client.meta.region_name, profile, entry.provider_model), ping),
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _client(self, alias: str, region: str | None, profile: str | None) -> Any:
        key = (region, profile)
        if key not in self._clients:
            try:
                self._clients[key] = self._new_client("bedrock-runtime", region, profile)
            except (BotoCoreError, ValueError) as error:
                raise StartupError(f"aliases.{alias}: {error}") from None
        return self._clients[key]

    def _new_client(self, service: str, region: str | None, profile: str | None) -> Any:
        # Any: boto3 makes its classes at run time.
        session = cast("Any", boto3.Session(profile_name=profile, region_name=region))
        return session.client(
            service,
            endpoint_url=self._endpoint_url,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                # Retries are the producer's.
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=self._most_streams,
                tcp_keepalive=True,
            ),
        )

    def _control_plane(self, model: str, region: str | None, profile: str | None) -> Any:
        if "application-inference-profile" not in model:
            return object()
        return self._new_client("bedrock", region or self._region, profile)

    def _speaking(self, chat_model: ChatBedrockConverse) -> Speak:
        def speak(turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Piece]]:
            _refuse_far_images(turns)
            opened: list[Any] = []
            begin = partial(_pieces, chat_model, turns, _call_options(params), opened)
            return from_thread(self._threads, begin, partial(_end_all, opened))

        return speak

    async def _ping(self, alias: str, client: Any, model: str) -> None:
        """Asks for one token: nothing that is free proves that the model may be used."""
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._threads, _ask_for_a_token, client, model
            )
        except Exception as error:  # noqa: BLE001 - boto3 raises classes that it makes at run time
            raise translate(alias, error, begun=False) from None


def _pieces(
    chat_model: ChatBedrockConverse,
    turns: Sequence[Turn],
    options: dict[str, Any],
    opened: list[Any],
) -> Generator[Piece]:
    _opened.set(opened)
    pieces = Pieces()
    for chunk in chat_model.stream(messages_of(turns), **options):
        yield pieces.piece(chunk)


def _end_all(opened: Sequence[Any]) -> None:
    """Ends the reads that a thread is in. Closing would not: the system goes on waiting."""
    for stream in opened:
        with suppress(Exception):  # it may have ended by itself, in any of many ways
            stream._raw_stream.shutdown()  # noqa: SLF001 - botocore shows the connection nowhere


def _ask_for_a_token(client: Any, model: str) -> None:
    answer = client.converse_stream(
        modelId=model,
        messages=[{"role": "user", "content": [{"text": "ping"}]}],
        inferenceConfig={"maxTokens": 1},
    )
    with suppress(StopIteration):
        next(iter(answer["stream"]))
    answer["stream"].close()


def _call_options(params: Params) -> dict[str, Any]:
    named = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
        "stop": list(params.stop) or None,
    }
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if tools := params.passed.get("tools"):
        options["tools"] = tools
        if choice := _tool_choice(params.passed.get("tool_choice")):
            options["tool_choice"] = choice
    return options


def _tool_choice(choice: Any) -> Any:
    """OpenAI's words for it as Converse's."""
    match choice:
        case "required":
            return {"any": {}}
        case "auto" | None:
            return {"auto": {}}
        case {"function": {"name": name}}:
            return {"tool": {"name": name}}
        case _:
            raise RunnelError(
                Code.INVALID_REQUEST,
                "bedrock takes `tool_choice` as auto, required or one function.",
                field="tool_choice",
            )


def _refuse_far_images(turns: Sequence[Turn]) -> None:
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, Image) and not part.url.startswith("data:"):
                raise RunnelError(
                    Code.INVALID_REQUEST,
                    "bedrock takes images as data: URLs only.",
                    field="messages",
                )

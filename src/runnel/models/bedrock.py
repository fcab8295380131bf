"""Models of AWS Bedrock, through ChatBedrockConverse: one thread a stream, ended when it is left."""

from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound
from langchain_aws import ChatBedrockConverse

from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Piece
from runnel.errors import Code, StartupError
from runnel.models.bedrock_asking import call_options, refuse_unspeakable
from runnel.models.bedrock_errors import translate, translate_ping
from runnel.models.bedrock_lines import Line, through, watch
from runnel.models.langchain import Entry, LangChainModel, Ping, Speak, telling
from runnel.models.messages import messages_of
from runnel.models.pieces import Pieces
from runnel.models.threads import from_thread

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

TAKES: Final = frozenset(
    {"temperature", "top_p", "max_tokens", "stop", "images", "tools", "tool_choice"}
)
_CONNECT_SECONDS: Final = 10
#: No less than the longest patience that can be set: the producer's own ends a wait.
_READ_SECONDS: Final = 86_400


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
        model = entry.provider_model
        chat_model = ChatBedrockConverse(
            model=_short(model),
            region_name=client.meta.region_name,
            client=client,
            # Of the control plane, which nothing here asks.
            bedrock_client=object(),
            # It knows some models only, and would ask all others for the whole answer at once.
            disable_streaming=False,
        )
        ping = partial(self._ping, client, model)
        return LangChainModel(
            _as_it_takes(entry, chat_model),
            self._speaking(chat_model, model),
            partial(translate, entry.alias),
            Ping((client.meta.region_name, profile, model), ping),
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()

    def _client(self, alias: str, region: str | None, profile: str | None) -> Any:
        key = (region, profile)
        if key not in self._clients:
            try:
                self._clients[key] = self._new_client(region, profile)
            except NoRegionError:
                why = "no region is known; name it here, or in AWS_REGION"
                raise StartupError(f"aliases.{alias}.region: {why}") from None
            except ProfileNotFound as error:
                raise StartupError(f"aliases.{alias}.profile: {error}") from None
            except (BotoCoreError, ValueError) as error:
                raise StartupError(f"aliases.{alias}: {error}") from None
        return self._clients[key]

    def _new_client(self, region: str | None, profile: str | None) -> Any:
        # Any: boto3 makes its classes at run time.
        session = cast("Any", boto3.Session(profile_name=profile, region_name=region))
        if not session.region_name:  # an empty variable is none
            raise NoRegionError
        client = session.client(
            "bedrock-runtime",
            endpoint_url=self._endpoint_url,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                # Retries are the producer's.
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=self._most_streams,
                tcp_keepalive=True,
                # Its own is made anew for each question, at a tenth of what a question costs.
                user_agent="runnel",
            ),
        )
        watch(client)
        return client

    def _speaking(self, chat_model: ChatBedrockConverse, model: str) -> Speak:
        @telling
        def speak(turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Piece]]:
            line = Line()
            options = call_options(params) | {"model_id": model}
            begin = partial(_pieces, chat_model, turns, options, line)
            return from_thread(self._threads, begin, line.end)

        return speak

    async def _ping(self, client: Any, model: str) -> None:
        """Asks for one token: nothing that is free proves that the model may be used."""
        line = Line()
        begin = partial(_first_event, client, model, line)
        try:
            async with aclosing(from_thread(self._threads, begin, line.end)) as events:
                async for _ in events:
                    pass
        except Exception as error:  # noqa: BLE001 - boto3 raises classes that it makes at run time
            fault = translate_ping(error)
            # Who has too much to do is there, and knows us.
            if fault.code is not Code.UPSTREAM_RATE_LIMITED:
                raise fault from None


def _short(model: str) -> str:
    """A model's name; of an ARN, what LangChain can make something of. AWS is told the ARN."""
    if not model.startswith("arn:"):
        return model
    name = model.rpartition("/")[2]
    return name if "." in name else f"unknown.{name}"


def _as_it_takes(entry: Entry, chat_model: ChatBedrockConverse) -> Entry:
    """The entry without what the model is known to refuse, which LangChain would leave out."""
    if (chat_model.profile or {}).get("temperature") is not False:
        return entry
    return replace(
        entry,
        terms=replace(entry.terms, takes=entry.terms.takes - {"temperature", "top_p"}),
        defaults=replace(entry.defaults, temperature=None, top_p=None),
    )


def _pieces(
    chat_model: ChatBedrockConverse, turns: Sequence[Turn], options: dict[str, Any], line: Line
) -> Generator[Piece]:
    refuse_unspeakable(turns)
    nova = chat_model.provider == "amazon"
    pieces = Pieces(
        # Who is asked for such tags by a prompt, as is common with Claude, is to show them.
        thinks_aloud=chat_model.provider != "anthropic",
        tag="thinking" if nova else "think",
    )
    # Not its public `stream`: that keeps all chunks to put them together at the end, which nobody
    # needs, and costs a third of what a question costs.
    private: Any = chat_model
    streamed: Generator[Any] = private._stream(messages_of(turns), **options)  # noqa: SLF001
    with through(line), closing(streamed) as chunks:
        for chunk in chunks:
            yield pieces.piece(cast("AIMessage", chunk.message))


def _first_event(client: Any, model: str, line: Line) -> Generator[None]:
    with through(line):
        answer = client.converse_stream(
            modelId=model,
            messages=[{"role": "user", "content": [{"text": "ping"}]}],
            inferenceConfig={"maxTokens": 1},
        )
        with closing(answer["stream"]) as events:
            for _ in events:
                break
    yield

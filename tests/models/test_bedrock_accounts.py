"""Regions, profiles and credentials; and whether a model of Bedrock's would answer, asked before."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bedrock_wire as wire
from asking_bedrock import MODEL, Account, account
from bedrock import CREDENTIALS, Bedrock, as_aws_user, region_of
from loading import Load
from provider import BEFORE_HEADERS, Answer
from runnel.chat.entities import Params
from runnel.errors import Code, RunnelError, StartupError
from saying import QUESTION, said

APPLICATION = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"
INFERENCE = (
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-v1:0"
)


@pytest.fixture
def aws() -> Iterator[Account]:
    with account() as there:
        yield there


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bedrock]:
    as_aws_user(monkeypatch, **CREDENTIALS)
    with Bedrock() as standing:
        yield standing


def nova(**fields: Any) -> dict[str, Any]:
    return {"aliases": {"chat/nova": {"provider": "bedrock", "model": MODEL, **fields}}}


@pytest.mark.parametrize(
    ("fields", "environment", "region"),
    [
        ({"region": "us-west-2"}, "eu-west-1", "us-west-2"),
        ({}, "eu-west-1", "eu-west-1"),
    ],
    ids=["the alias'", "AWS_REGION"],
)
async def test_the_region_is_the_alias_own_or_the_environments(
    load: Load, provider: Bedrock, fields: dict[str, Any], environment: str, region: str
) -> None:
    catalog = await load(nova(**fields), bedrock_endpoint_url=provider.url, aws_region=environment)
    [model] = catalog.candidates("chat/nova").models
    await said(model)
    assert region_of(provider.asks[0]) == region


async def test_a_profile_gives_region_and_credentials(
    load: Load, provider: Bedrock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    file = tmp_path / "aws"
    file.write_text(
        "[profile work]\nregion = ap-south-1\n"
        "aws_access_key_id = AKIDWORK\naws_secret_access_key = of-work\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    catalog = await load(nova(profile="work"), bedrock_endpoint_url=provider.url)
    [model] = catalog.candidates("chat/nova").models
    await said(model)
    [asked] = provider.asks
    assert region_of(asked) == "ap-south-1"
    assert "Credential=AKIDWORK/" in asked.headers["authorization"]


@pytest.mark.parametrize(
    ("fields", "said_of_it"),
    [
        ({}, r"aliases\.chat/nova\.region: no region is known; .*AWS_REGION"),
        ({"profile": "nobody's"}, r"aliases\.chat/nova\.profile: .*\(nobody's\)"),
    ],
    ids=["no region", "no profile"],
)
async def test_what_is_missing_is_said_at_the_start_with_alias_and_field(
    load: Load, provider: Bedrock, fields: dict[str, Any], said_of_it: str
) -> None:
    with pytest.raises(StartupError, match=said_of_it):
        await load(nova(**fields), bedrock_endpoint_url=provider.url)


async def test_without_credentials_the_answer_says_what_the_server_lacks(
    aws: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_aws_user(monkeypatch)
    model = aws.model()
    with pytest.raises(RunnelError, match="needs AWS credentials") as failed:
        await said(model)
    assert (failed.value.code, failed.value.retryable) == (Code.UPSTREAM_ERROR, False)
    assert model.ping is not None
    with pytest.raises(RunnelError, match=r"^the provider needs AWS credentials"):
        await model.ping.ask()


@pytest.mark.parametrize("arn", [APPLICATION, INFERENCE])
async def test_a_model_may_be_named_by_its_arn(aws: Account, arn: str) -> None:
    model = aws.model(arn, Answer(["It", " is me."]))
    assert model.provider_model == arn
    assert (await said(model)).text == "It is me."


async def test_a_model_that_refuses_a_temperature_is_not_said_to_take_one(aws: Account) -> None:
    model = aws.model("anthropic.claude-opus-4-7")
    assert {"temperature", "top_p"}.isdisjoint(model.terms.takes)
    assert {"temperature", "top_p"} <= aws.model().terms.takes


async def test_a_ping_asks_for_one_token_and_reads_no_further(aws: Account) -> None:
    model = aws.model(MODEL, Answer(["a", "b"], stall_after=1))
    assert model.ping is not None
    await model.ping.ask()
    [asked] = aws.provider.asks
    assert asked.body["inferenceConfig"] == {"maxTokens": 1}


REFUSALS = [
    (Answer(status=403, error_message="secret words"), "refused the server's AWS credentials"),
    (Answer(status=404, error_message="secret words"), "refused the request"),
    (Answer(status=503, error_message="secret words"), "the provider failed"),
    (Answer(cut_after=BEFORE_HEADERS), "hung up"),
]


@pytest.mark.parametrize(("answer", "why"), REFUSALS, ids=[why for _, why in REFUSALS])
async def test_a_ping_says_why_a_model_would_not_answer(
    aws: Account, answer: Answer, why: str
) -> None:
    ping = aws.model(MODEL, answer).ping
    assert ping is not None
    with pytest.raises(RunnelError, match=why) as fault:
        await ping.ask()
    assert "secret" not in fault.value.message


async def test_who_has_too_much_to_do_just_now_is_there(aws: Account) -> None:
    ping = aws.model(MODEL, Answer(status=429)).ping
    assert ping is not None
    await ping.ask()
    assert len(aws.provider.asks) == 1


async def test_a_ping_says_that_nobody_is_there(provider: Bedrock) -> None:
    with account(url=provider.refused_url()) as aws:
        ping = aws.model().ping
        assert ping is not None
        with pytest.raises(RunnelError, match="the provider cannot be reached"):
            await ping.ask()


async def test_a_ping_that_is_given_up_holds_no_connection_and_no_thread() -> None:
    with account(most_streams=1) as aws:
        catalog_waits = aws.model(MODEL, Answer(stall_after=BEFORE_HEADERS), Answer())
        assert catalog_waits.ping is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await catalog_waits.ping.ask()
        await asyncio.to_thread(aws.provider.client_left.wait_at_least, 1, 1)
        assert (await said(catalog_waits)).text == "Hello world"


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        ("throttlingException", Code.UPSTREAM_RATE_LIMITED, True),
        ("serviceUnavailableException", Code.UPSTREAM_ERROR, True),
        ("internalServerException", Code.UPSTREAM_ERROR, True),
        ("modelStreamErrorException", Code.UPSTREAM_ERROR, True),
        ("validationException", Code.UPSTREAM_ERROR, False),
        ("aFaultOfTomorrow", Code.UPSTREAM_ERROR, False),
    ],
)
async def test_faults_inside_a_stream_have_their_code(
    aws: Account, kind: str, code: Code, *, retryable: bool
) -> None:
    model = aws.model(MODEL, Answer(["a", wire.exception(kind, "secret words")]))
    with pytest.raises(RunnelError) as failed:
        await said(model, QUESTION, Params())
    assert (failed.value.code, failed.value.retryable) == (code, retryable)
    assert "secret" not in failed.value.message


@pytest.mark.parametrize(
    ("status", "name", "code", "retryable"),
    [
        (429, "ModelNotReadyException", Code.UPSTREAM_ERROR, True),
        (408, "ModelTimeoutException", Code.UPSTREAM_TIMEOUT, True),
        (424, "ModelErrorException", Code.UPSTREAM_ERROR, True),
        (400, "ServiceQuotaExceededException", Code.UPSTREAM_RATE_LIMITED, True),
        (400, "ValidationException", Code.UPSTREAM_ERROR, False),
        (403, "ExpiredTokenException", Code.UPSTREAM_ERROR, False),
    ],
)
async def test_refusals_have_their_code(
    aws: Account, status: int, name: str, code: Code, *, retryable: bool
) -> None:
    model = aws.model(MODEL, Answer(status=status, error_code=name))
    with pytest.raises(RunnelError) as failed:
        await said(model)
    assert (failed.value.code, failed.value.retryable) == (code, retryable)


async def test_a_prompt_that_is_too_long_is_said_to_be(aws: Account) -> None:
    words = "Input is too long for requested model."
    model = aws.model(MODEL, Answer(status=400, error_message=words))
    with pytest.raises(RunnelError, match="too long for the model"):
        await said(model)

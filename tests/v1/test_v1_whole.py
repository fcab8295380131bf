"""Answers of /v1 that are not streamed."""

from openai import OpenAI

from provider import Answer
from surface import HELLO, MODEL, Surface


def test_a_whole_answer_is_a_completion(v1: Surface) -> None:
    response = v1.post()
    body = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    generation_id = response.headers["x-generation-id"]
    assert isinstance(body.pop("created"), int)
    assert body == {
        "id": f"chatcmpl-{generation_id}",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def test_the_official_client_reads_it(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(("long",), finish_reason="length"))
    completion = client.chat.completions.create(model=MODEL, messages=HELLO)
    [choice] = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("long", "length")
    assert completion.usage
    assert completion.usage.total_tokens == 15


async def test_the_asynchronous_client_reads_it(v1: Surface) -> None:
    async with v1.asynchronous() as client:
        completion = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert completion.choices[0].message.content == "Hello world"


def test_it_names_the_alias_that_served(v1: Surface) -> None:
    v1.provider.answer("test", Answer(status=500))
    assert v1.post(model="chat/passing-on").json()["model"] == "chat/other"


def test_begun_anew_by_another_model_it_is_the_others_answer_alone(v1: Surface) -> None:
    """Nobody has read anything of what is void."""
    v1.provider.answer("test", Answer(("void",), cut_after=1))
    v1.provider.answer("other", Answer(("whole",)))
    body = v1.post(model="chat/restarting").json()
    assert body["choices"][0]["message"]["content"] == "whole"
    assert body["model"] == "chat/other"


def test_a_model_is_found_by_its_providers_name_too(v1: Surface) -> None:
    assert v1.post(model="other").json()["model"] == "chat/other"


def test_tokens_that_the_provider_does_not_count_are_estimated(v1: Surface) -> None:
    v1.provider.answer("test", Answer(usage=None))
    usage = v1.post().json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_no_text_is_an_empty_content(v1: Surface) -> None:
    v1.provider.answer("test", Answer(()))
    assert v1.post().json()["choices"][0]["message"]["content"] == ""

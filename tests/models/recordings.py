"""Streams as providers send them, byte by byte: the shapes that each one's own API documents."""

from typing import Final

_OPENAI = (
    b'data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini'
    b'-2024-07-18","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":%s,'
    b'"logprobs":null,"finish_reason":%s}],"usage":null}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini'
    b'-2024-07-18","service_tier":"default","system_fingerprint":"fp_1","choices":[],"usage":{"prompt_toke'
    b'ns":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4,"audio_tok'
    b'ens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,"accepted_prediction_toke'
    b'ns":0,"rejected_prediction_tokens":0}}}\n\n'
)
_DONE = b"data: [DONE]\n\n"


def _openai(*deltas: bytes, reason: bytes = b'"stop"') -> bytes:
    said = b"".join(_OPENAI % (delta, b"null") for delta in deltas)
    return said + _OPENAI % (b"{}", reason) + _USAGE + _DONE


def _plain(*bodies: str) -> bytes:
    return b"".join(b"data: %s\n\n" % body.encode() for body in bodies) + _DONE


RECORDINGS: Final[dict[str, bytes]] = {
    "openai: text": _openai(
        b'{"role":"assistant","content":"","refusal":null}',
        b'{"content":"Hello"}',
        '{"content":" wörld 👋\\n"}'.encode(),
        b'{"content":"\\ud83d\\udc4b\\u0000"}',
    ),
    "openai: calls of tools": _openai(
        b'{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function",'
        b'"function":{"name":"weather","arguments":""}}],"refusal":null}',
        b'{"tool_calls":[{"index":0,"function":{"arguments":"{\\"town\\":"}}]}',
        b'{"tool_calls":[{"index":0,"function":{"arguments":"\\"Oslo\\"}"}}]}',
        b'{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"time",'
        b'"arguments":"{}"}}]}',
        reason=b'"tool_calls"',
    ),
    "openai: a refusal": _openai(
        b'{"role":"assistant","content":"","refusal":null}',
        b'{"refusal":"I cannot"}',
        b'{"refusal":" do that."}',
    ),
    "openai: cut by its length": _openai(
        b'{"role":"assistant","content":"One"}', reason=b'"length"'
    ),
    "openai: logprobs": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"content":"Hi"},"logprobs":{"content":[{"token":"Hi","logprob":-0.5,"bytes":[72,105],'
        '"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{},"logprobs":null,"finish_reason":"stop"}]}',
    ),
    "azure: filters first": _plain(
        '{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":'
        '0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}',
        '{"choices":[{"content_filter_results":{},"delta":{"content":"","role":"assistant"},"finish_reason"'
        ':null,"index":0,"logprobs":null}],"created":1,"id":"c","model":"gpt-4o","object":"chat.completion.'
        'chunk"}',
        '{"choices":[{"delta":{"content":"Hei"},"finish_reason":null,"index":0}],"created":1,"id":"c",'
        '"model":"gpt-4o","object":"chat.completion.chunk"}',
        '{"choices":[{"delta":{},"finish_reason":"content_filter","index":0}],"created":1,"id":"c",'
        '"model":"gpt-4o","object":"chat.completion.chunk"}',
    ),
    "groq": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"llama-3.1-8b-instant",'
        '"system_fingerprint":"fp_2","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        '"logprobs":null,"finish_reason":null}],"x_groq":{"id":"req_1"}}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"llama-3.1-8b-instant","choices":'
        '[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"llama-3.1-8b-instant","choices":'
        '[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"x_groq":{"id":"req_1","usage":'
        '{"queue_time":0.01,"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"llama-3.1-8b-instant","choices":'
        '[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"queue_time":0.01}}',
    ),
    "fireworks: usage with the end": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"accounts/fireworks/models/x",'
        '"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"accounts/fireworks/models/x",'
        '"choices":[{"index":0,"delta":{"content":"Yes"},"finish_reason":null}],"usage":null}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"accounts/fireworks/models/x",'
        '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
        '"total_tokens":4,"completion_tokens":1}}',
    ),
    "vllm: reasoning apart, numbers that are none": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"qwen","choices":[{"index":0,'
        '"delta":{"role":"assistant","content":"","reasoning_content":null},"logprobs":null,'
        '"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"qwen","choices":[{"index":0,'
        '"delta":{"reasoning_content":"Well"},"logprobs":null,"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"qwen","choices":[{"index":0,'
        '"delta":{"content":"42"},"logprobs":{"content":[{"token":"42","logprob":-Infinity,"bytes":null,'
        '"top_logprobs":[]}]},"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"qwen","choices":[{"index":0,'
        '"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null}]}',
    ),
    "deepseek: reasoning apart": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"deepseek-reasoner","choices":[{'
        '"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"Hm"},"logprobs":null,'
        '"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"deepseek-reasoner","choices":[{'
        '"index":0,"delta":{"content":"So","reasoning_content":null},"logprobs":null,"finish_reason":null'
        "}]}",
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"deepseek-reasoner","choices":[{'
        '"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}],"usage":{'
        '"prompt_tokens":8,"completion_tokens":9,"total_tokens":17,"prompt_cache_hit_tokens":0}}',
    ),
    "an open model that thinks aloud": _plain(
        *(
            '{"id":"c","object":"chat.completion.chunk","created":1,"model":"r1","choices":[{"index":0,'
            f'"delta":{{"content":"{part}"}},"finish_reason":null}}]}}'
            for part in ("<th", "ink>why", "</think", ">\\n\\nBecause", " <think> of it")
        ),
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"r1","choices":[{"index":0,'
        '"delta":{},"finish_reason":"stop"}]}',
    ),
    "openrouter: comments between": (
        b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
        + _plain(
            '{"id":"gen-1","provider":"X","model":"a/b","object":"chat.completion.chunk","created":1,'
            '"choices":[{"index":0,"delta":{"role":"assistant","content":"Oui","reasoning":"hm"},'
            '"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}',
            '{"id":"gen-1","provider":"X","model":"a/b","object":"chat.completion.chunk","created":1,'
            '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop",'
            '"native_finish_reason":"stop","logprobs":null}]}',
        )
    ),
    "llama.cpp: lines that end in CRLF": _plain(
        '{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],'
        '"created":1,"id":"c","model":"g","object":"chat.completion.chunk"}',
        '{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Ja\\r\\n"}}],"created":1,"id":"c",'
        '"model":"g","object":"chat.completion.chunk"}',
        '{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1,"id":"c","model":"g",'
        '"object":"chat.completion.chunk","timings":{"predicted_n":2,"predicted_ms":11.5}}',
    ).replace(b"\n\n", b"\r\n\r\n"),
    "two choices, of which one counts": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"content":"A"},"finish_reason":null},{"index":1,"delta":{"content":"B"},"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{},"finish_reason":"stop"}]}',
    ),
    "no end mark": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"content":"All"},"finish_reason":"stop"}]}'
    ).removesuffix(_DONE),
    "the older call of a function": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},'
        '"finish_reason":null}]}',
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{},"finish_reason":"function_call"}]}',
    ),
    "an error in mid-stream": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"content":"Be"},"finish_reason":null}]}',
        '{"error":{"message":"The server is overloaded","type":"server_error","code":"overloaded"}}',
    ),
    "an error that is one word": _plain('{"error":"overloaded"}'),
    "what is no JSON": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        '{"content":"Be"},"finish_reason":null}]}',
        '{"choices":[{"index":0,"del',
    ),
    "what is no chunk": _plain("[1, 2]"),
    "a choice without a delta": _plain(
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        'null,"finish_reason":"stop"}]}'
    ),
    "nothing at all": b"",
}

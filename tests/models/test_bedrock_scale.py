"""Answers of Bedrock's that are made at the same time do not wait for each other."""

import gc

from asking_bedrock import account, seconds_of
from bedrock import apart

STREAMS = 64
#: Five seconds of an answer. The time to ask 64 times does not grow with it, but it does with
#: what else the machine has to do: so much may be lost to that.
CHUNKS = 51


async def test_64_answers_at_once_take_no_longer_than_1_1_times_one() -> None:
    with apart() as url, account(most_streams=STREAMS, url=url) as aws:
        model = aws.model()
        # Threads and connections are made once in a server's life.
        await seconds_of(STREAMS, 1, model)
        gc.freeze()  # what other tests have left is not what is measured
        one = await seconds_of(1, CHUNKS, model)
        many = await seconds_of(STREAMS, CHUNKS, model)
        gc.unfreeze()
    assert one > (CHUNKS - 1) * 0.1
    assert many <= 1.1 * one

"""How long parallel answers of Bedrock's take: PYTHONPATH=tests python bench/bedrock_streams.py."""  # noqa: INP001 - a program

import asyncio
import gc
import sys

from asking_bedrock import account, seconds_of
from bedrock import apart

CHUNKS = 15


async def main(rounds: int) -> None:
    """Two rows for each number of streams, of what rounds take measured by one stream alone.

    The first round opens the connections. Of the second row, the garbage collector passes over
    what the process has loaded.
    """
    for streams in (64, 256):
        with apart() as url, account(most_streams=streams, url=url) as aws:
            model = aws.model()
            await seconds_of(1, 1, model)
            one = await seconds_of(1, CHUNKS, model)
            for kind in ("", ", gc.freeze()"):
                taken = [await seconds_of(streams, CHUNKS, model) for _ in range(rounds)]
                ratios = ", ".join(f"{seconds / one:.2f}" for seconds in taken)
                sys.stdout.write(f"{streams} × {CHUNKS} chunks{kind}, one {one:.2f} s: {ratios}\n")
                gc.collect()
                gc.freeze()
        gc.unfreeze()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))

"""Starlette and aiohttp, passing the provider's bytes through: what no server can do without."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def app_of(provider_url: str) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield {"session": session}

    async def chat(request: Request) -> StreamingResponse:
        session: aiohttp.ClientSession = request.state.session
        body = await request.body()
        response = await session.post(
            f"{provider_url}/chat/completions",
            data=body,
            headers={"Content-Type": "application/json"},
        )

        async def passed() -> AsyncGenerator[bytes]:
            async with response:
                async for data in response.content.iter_any():
                    yield data

        return StreamingResponse(
            passed(), response.status, media_type=response.headers["Content-Type"]
        )

    return Starlette(routes=[Route("/chat", chat, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(app_of(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)

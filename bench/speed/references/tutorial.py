"""FastAPI, ChatOpenAI and sse-starlette, put together as tutorials do."""

import sys
from collections.abc import AsyncGenerator
from functools import cache

import uvicorn
from fastapi import FastAPI
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr
from sse_starlette import EventSourceResponse

app = FastAPI()


class Question(BaseModel):
    message: str
    model: str


@cache
def chat_model(model: str) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=sys.argv[2], api_key=SecretStr("none"), streaming=True)


@app.post("/chat")
async def chat(question: Question) -> EventSourceResponse:
    async def events() -> AsyncGenerator[dict[str, str]]:
        async for chunk in chat_model(question.model).astream([HumanMessage(question.message)]):
            yield {"data": str(chunk.content)}
        yield {"data": "[DONE]"}

    return EventSourceResponse(events())


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)

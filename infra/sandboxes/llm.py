"""A language model behind the chat API of OpenAI. `python -m infra.sandboxes.llm --port P ...`

`POST /v1/chat/completions` in the shape of https://platform.openai.com/docs/api-reference/chat/create: it knows one task,
keywords of a gym, reads the texts out of the last message's JSON, and answers by counting words; no model is in it. Faults
(`POST /sandbox/faults`) come as with the other sandboxes. `POST /sandbox/behaviour {"mode": ...}` sets what its answers are
like: `honest`; `obedient` does whatever a text tells it to; `inventive` tells what no text says; `prose` answers in plain
words; `cut` stops in the middle; `chatty` wraps the JSON in a code fence; `greedy` says it has used a million tokens.
"""

import json
import re
import threading
import time
import uuid
from collections import Counter
from typing import Any, Literal

from flask import Flask, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from infra.sandboxes.server import Refusal, arguments, body, sandbox_app, serve

MAX_BODY_BYTES = 512 * 1024
MANY_TOKENS = 1_000_000
_WORD = re.compile(r"[가-힣]{2,}")
_ORDER = re.compile(r"ignore|무시하고|지시", re.IGNORECASE)

Mode = Literal["honest", "obedient", "inventive", "prose", "cut", "chatty", "greedy"]


class Message(BaseModel):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class Completion(BaseModel):
    """What is asked; further options of the real API are passed over."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    max_tokens: int = Field(default=1000, ge=1)


class Behaviour(BaseModel):
    """How it is to answer from now on."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode = "honest"


def error_body(status: int) -> str:
    """An error as the real API tells it."""
    kind = {401: "invalid_request_error", 429: "rate_limit_exceeded"}.get(status, "server_error")
    return json.dumps({"error": {"message": "fault", "type": kind, "param": None, "code": kind}})


def read(content: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The traits and the texts of a message: its one JSON object."""
    try:
        asked = json.loads(content[content.index("{") : content.rindex("}") + 1])
        return list(asked["traits"]), list(asked["texts"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(
            400, "invalid_request_error", "no JSON object with traits and texts in the last message"
        ) from None


def answer(traits: list[dict[str, Any]], texts: list[dict[str, str]], mode: Mode) -> dict[str, Any]:
    """Words that several texts have, and traits whose words they have, each with where it is said."""
    if mode == "inventive":
        return {
            "keywords": [
                {"word": word, "texts": [texts[0]["id"]]} for word in ("황금수도꼭지", "무중력운동", "우주정거장")
            ],
            "traits": [{"code": "haunted", "text": "t999", "quote": "유령"}],
        }
    if mode == "obedient" and any(_ORDER.search(text["text"]) for text in texts):
        every = [{"code": each["code"], "text": text["id"], "quote": each["ko"]} for each in traits for text in texts]
        return {"keywords": [{"word": "1등지점", "texts": [text["id"] for text in texts]}], "traits": every}
    where: dict[str, list[str]] = {}
    for text in texts:
        for word in sorted(set(_WORD.findall(text["text"]))):
            where.setdefault(word, []).append(text["id"])
    often = Counter({word: len(ids) for word, ids in where.items()})
    said = [
        {"code": each["code"], "text": text["id"], "quote": word}
        for each in traits
        for text in texts
        for word in each["words"][:3]
        if len(word) > 1 and word in text["text"]
    ]
    return {"keywords": [{"word": word, "texts": where[word]} for word, _ in often.most_common(20)], "traits": said}


def create_app(api_key: str) -> Flask:
    """The sandbox's app."""
    app, log = sandbox_app("llm", api_key, error_body=error_body)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    state = {"mode": "honest"}
    lock = threading.Lock()

    @app.post("/sandbox/behaviour")
    def behave() -> Response:
        wanted = body(Behaviour)
        with lock:
            state["mode"] = wanted.mode
        return jsonify(wanted.model_dump())

    @app.post("/v1/chat/completions")
    def complete() -> Response:
        wanted = body(Completion)
        mode: Any = state["mode"]
        traits, texts = read(wanted.messages[-1].content)
        content = json.dumps(answer(traits, texts, mode), ensure_ascii=False)
        content = {"prose": "이 지점은 아주 좋습니다!", "cut": content[: len(content) // 2]}.get(mode, content)
        content = f"```json\n{content}\n```" if mode == "chatty" else content
        prompt = sum(len(message.content) for message in wanted.messages)
        used = MANY_TOKENS if mode == "greedy" else (prompt + len(content)) // 2
        log.add(model=wanted.model, texts=len(texts), mode=mode, characters=prompt)
        return jsonify(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            object="chat.completion",
            created=int(time.time()),
            model=wanted.model,
            choices=[
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "length" if mode == "cut" else "stop",
                }
            ],
            usage={"prompt_tokens": prompt // 2, "completion_tokens": len(content) // 2, "total_tokens": used},
        )

    return app


if __name__ == "__main__":
    command_line = arguments("llm")
    serve(create_app(command_line.api_key_file.read_text().strip()), command_line)

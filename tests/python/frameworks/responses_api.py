"""A server on this machine in place of OpenAI's: the Responses API, as far as the Agents SDK uses it, answered by a function of the test's."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from frameworks.model_server import JSON, ModelServer, serving

Asked = dict[str, Any]


def responses_api(answer: Callable[[Asked], str | tuple[str, dict[str, Any]]]) -> AbstractContextManager[ModelServer]:
    """Serves until the block is left. answer: what the model says, or the tool that it calls with its arguments."""

    def body(asked: Asked) -> tuple[str, bytes]:
        item = _item(answer(asked))
        if asked.get("stream"):
            return "text/event-stream", _stream(item)
        return JSON, json.dumps(_response([item], "completed")).encode()

    return serving("/responses", body)


def _item(answer: str | tuple[str, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(answer, str):
        part = {"type": "output_text", "text": answer, "annotations": []}
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    name, arguments = answer
    call = {"type": "function_call", "id": "fc_1", "call_id": f"call_{name}", "name": name, "status": "completed"}
    return {**call, "arguments": json.dumps(arguments)}


def _response(output: list[Any], status: str) -> dict[str, Any]:
    used = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": "model",
        "status": status,
        "output": output,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, **used},
    }


def _stream(item: dict[str, Any]) -> bytes:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response([], "in_progress")}]
    if item["type"] == "message":
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        events += [{"type": "response.output_text.delta", "delta": word, **place} for word in item["content"][0]["text"].splitlines(True)]
    events += [
        {"type": "response.output_item.done", "item": item, "output_index": 0},
        {"type": "response.completed", "response": _response([item], "completed")},
    ]
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in numbered).encode()

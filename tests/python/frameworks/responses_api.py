"""A server on this machine in place of OpenAI's: the Responses API, as far as the Agents SDK uses it, answered by a function of the test's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Asked = dict[str, Any]


class ResponsesAPI:
    """Serves until the block is left. `address` is for OPENAI_BASE_URL; `asked` is what was asked, with all its fields."""

    def __init__(self, answer: Callable[[Asked], str | tuple[str, dict[str, Any]]]) -> None:
        """answer: what the model says, or the tool that it calls with its arguments."""
        self.asked: list[Asked] = []
        self._answer = answer
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append(asked)
                item = _item(api._answer(asked))
                body = _stream(item) if asked.get("stream") else json.dumps(_response([item], "completed")).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream" if asked.get("stream") else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        return Handler


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

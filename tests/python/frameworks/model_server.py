"""A server on this machine that answers as a model of OpenAI would, for programs that are run as their users write them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]
JSON = "application/json"


@dataclass(slots=True)
class ModelServer:
    """Where it is, for `OPENAI_BASE_URL`, and what it was asked."""

    address: str
    asked: list[Request] = field(default_factory=list)


@contextmanager
def serving(path: str, answer: Callable[[Request], tuple[str, bytes]]) -> Iterator[ModelServer]:
    """Serves one path of the API. `answer` gives the content type and the body for a request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = self.path == f"/v1{path}"
            if found:
                model.asked.append(request)
            kind, body = answer(request) if found else (JSON, json.dumps({"error": {"message": f"no {self.path} here"}}).encode())
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model = ModelServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

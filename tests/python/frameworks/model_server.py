"""A server on this machine that answers as a model of OpenAI would, for programs that are run as their users write them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


@contextmanager
def chat_completions(answer: Callable[[Request], dict[str, Any]]) -> Iterator[tuple[str, list[Request]]]:
    """Gives its address, for `OPENAI_BASE_URL`, and the list of what it was asked. `answer` makes the completion of a request, as it is on the wire."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(request)
            found = self.path == "/v1/chat/completions"
            body = json.dumps(answer(request) if found else {"error": {"message": f"no {self.path} here"}}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

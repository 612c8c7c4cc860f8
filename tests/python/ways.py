"""Ways to a switchboard on which something is wrong: fakes on loopback, and a proxy by which any name leads to them.

On loopback an agent takes any certificate, so what concerns certificates is tested under a name that only the proxy knows.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import shutil
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.server import ServerConnection, serve

NAME = "relay.example"
DAY = 86_400.0


@contextlib.contextmanager
def switchboard(*, versions: tuple[int, int] = (1, 1), ahead: float = 0.0, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Runs what speaks like a switchboard up to its first frame; gives the port."""

    def handle(connection: ServerConnection) -> None:
        wall = round((time.time() + ahead) * 1000)
        connection.send(struct.pack(">BBBQQB", 1, *versions, 0, wall, 0) + bytes(32) + b"\0\0")
        with contextlib.suppress(Exception):
            connection.recv()

    with serve(handle, "127.0.0.1", 0, subprotocols=["a2alinker.1"], ssl=tls) as server:  # type: ignore[list-item]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


@contextlib.contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Runs a web server that knows nothing of WebSocket; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with _served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        yield server.server_address[1]


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Listens, and accepts nobody; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Gives a port that swallows packets: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def proxy(to: int | None) -> Iterator[str]:
    """Runs a proxy that leads everybody to this port of loopback, or refuses; gives its setting."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            if to is None:
                self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", to)) as onward:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(onward, self.connection))
                back.start()
                _pump(self.connection, onward)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with _served(Server(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        with source.makefile("rb", buffering=0) as reading, target.makefile("wb", buffering=0) as writing:
            shutil.copyfileobj(reading, writing, 4096)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[socketserver.TCPServer]:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def certificate(folder: Path, *, name: str = NAME, ends_in: float = 90 * DAY) -> tuple[ssl.SSLContext, str]:
    """Makes an authority and a certificate of it; gives what a server shows, and the authority's file."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
    long_ago = now - datetime.timedelta(days=100)
    authority = (
        x509.CertificateBuilder(authority_name, authority_name, authority_key.public_key(), x509.random_serial_number())
        .not_valid_before(long_ago)
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    own = (
        x509.CertificateBuilder(authority_name, x509.Name([]), key.public_key(), x509.random_serial_number())
        .not_valid_before(long_ago)
        .not_valid_after(now + datetime.timedelta(seconds=ends_in))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "shown.pem").write_bytes(own.public_bytes(pem) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "shown.pem")
    return context, str(folder / "authority.pem")

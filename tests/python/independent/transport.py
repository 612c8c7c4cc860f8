"""Section 2: a socket, TLS with its exporter, WebSocket on top; and the handshake of section 3.1 that makes a link of it.

TLS and WebSocket are sans-IO here: all bytes pass `_pump`, the only place that touches the socket.
"""

import socket
import time
from collections import deque

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from independent import link
from independent.codec import Forged, base32
from independent.keys import h
from independent.outer import FRAME

PATIENCE = 10.0  # seconds for a link to come up
READ = 65_536  # bytes taken from the socket at once
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Closed(Exception):
    """The link is over."""


class Link:
    """An authenticated link: binary messages go both ways. `pin` is that of the certificate that was seen."""

    def __init__(self, address: str, credentials: link.Credentials) -> None:
        url, _, pin = address.partition("#")
        uri = parse_uri(url)
        self._socket = socket.create_connection((uri.host, uri.port), PATIENCE)
        self._tls: SSL.Connection | None = None
        self.pin = bytes(32)
        self._exporter = bytes(32)
        self._frames: deque[bytes] = deque()
        self._websocket = ClientProtocol(uri, subprotocols=[Subprotocol("a2alinker.1")], max_size=FRAME)
        try:
            if uri.secure:
                self._start_tls(pin, any_certificate=credentials.slot > 0 or uri.host in LOOPBACK)
            self._websocket.send_request(self._websocket.connect())
            self._flush()
            self._prove(credentials)
        except BaseException:
            self.cut()
            raise

    def _prove(self, credentials: link.Credentials) -> None:
        challenge = self.expect()
        binding = link.Challenge.decode(challenge).binding
        exporter = self._exporter if binding == link.BINDING_EXPORTER else bytes(32)
        self.send(credentials.hello(challenge, binding, exporter))
        link.Welcome.decode(self.expect())

    def send(self, frame: bytes) -> None:
        self._websocket.send_binary(frame)
        self._flush()

    def expect(self) -> bytes:
        """Waits for a frame that has to come."""
        frame = self.receive(PATIENCE)
        if frame is None:
            raise Closed("nothing came")
        return frame

    def receive(self, seconds: float) -> bytes | None:
        """Waits for a frame, or gives nothing when the time is over."""
        deadline = time.monotonic() + seconds
        while not self._frames:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._pump(remaining):
                return None
        return self._frames.popleft()

    def close(self) -> None:
        self._websocket.send_close()
        self._flush()
        self.cut()

    def cut(self) -> None:
        """Ends the connection without a word, as a dead network does."""
        self._socket.close()

    def _pump(self, seconds: float) -> bool:
        """Waits for bytes of the socket and carries them up."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(READ)
        except TimeoutError:
            return False
        if not data:
            raise Closed("the switchboard closed the connection")
        if self._tls:
            self._tls.bio_write(data)
            data = self._decrypt()
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                self._frames.append(bytes(event.data))
            elif isinstance(event, Response) and (self._websocket.handshake_exc or self._websocket.subprotocol != "a2alinker.1"):
                raise Forged("a server that doesn't speak the protocol")
        self._flush()
        return True

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if self._tls and data:
                self._tls.sendall(data)
            elif data:
                self._socket.sendall(data)
        self._send_tls()

    def _decrypt(self) -> bytes:
        assert self._tls
        parts = []
        try:
            while True:
                parts.append(self._tls.recv(READ))
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return b"".join(parts)

    def _send_tls(self) -> None:
        try:
            while self._tls:
                self._socket.sendall(self._tls.bio_read(READ))
        except SSL.WantReadError:
            pass

    def _start_tls(self, pin: str, *, any_certificate: bool) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        self._tls = SSL.Connection(context)
        self._tls.set_connect_state()
        while True:
            try:
                self._tls.do_handshake()
                break
            except SSL.WantReadError:
                self._send_tls()
                self._tls.bio_write(self._socket.recv(READ))
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        assert certificate
        self.pin = h(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        if base32(self.pin) != pin and not any_certificate:
            raise Forged(f"a certificate with the pin {base32(self.pin)}")
        self._exporter = self._tls.export_keying_material(link.EXPORTER_LABEL, 32)

"""HPKE (RFC 9180) in base and PSK mode with HKDF-SHA256 and ChaCha20Poly1305, for one message per context, as the protocol uses it."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from independent import xwing
from independent.codec import Forged, u8, u16
from independent.keys import expand, extract

X_WING = 0x647A
HKDF_SHA256 = 0x0001
CHACHA20_POLY1305 = 0x0003
NO_PSK = (b"", b"")

Psk = tuple[bytes, bytes]  # the key and its id


@dataclass(frozen=True)
class Context:
    """What both sides hold after one encapsulation."""

    key: bytes
    nonce: bytes
    exporter_secret: bytes
    suite: bytes

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return ChaCha20Poly1305(self.key).encrypt(self.nonce, plaintext, aad)

    def open(self, aad: bytes, ciphertext: bytes) -> bytes:
        try:
            return ChaCha20Poly1305(self.key).decrypt(self.nonce, ciphertext, aad)
        except InvalidTag as error:
            raise Forged("the seal doesn't open") from error

    def export(self, context: bytes, length: int = 32) -> bytes:
        return _labeled_expand(self.suite, self.exporter_secret, b"sec", context, length)


def sender(public: bytes, info: bytes, seed: bytes, psk: Psk = NO_PSK) -> tuple[bytes, Context]:
    """Gives the encapsulation to send, and the context to seal with."""
    secret, enc = xwing.encapsulate(public, seed)
    return enc, key_schedule(X_WING, secret, info, psk)


def receiver(private: xwing.PrivateKey, enc: bytes, info: bytes, psk: Psk = NO_PSK) -> Context:
    return key_schedule(X_WING, private.decapsulate(enc), info, psk)


def key_schedule(kem: int, shared_secret: bytes, info: bytes, psk: Psk) -> Context:
    """Section 5.1 of the RFC."""
    suite = b"HPKE" + u16(kem) + u16(HKDF_SHA256) + u16(CHACHA20_POLY1305)
    mode = 0 if psk == NO_PSK else 1
    psk_id_hash = _labeled_extract(suite, b"", b"psk_id_hash", psk[1])
    info_hash = _labeled_extract(suite, b"", b"info_hash", info)
    context = u8(mode) + psk_id_hash + info_hash
    secret = _labeled_extract(suite, shared_secret, b"secret", psk[0])
    return Context(
        key=_labeled_expand(suite, secret, b"key", context, 32),
        nonce=_labeled_expand(suite, secret, b"base_nonce", context, 12),
        exporter_secret=_labeled_expand(suite, secret, b"exp", context, 32),
        suite=suite,
    )


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, u16(length) + b"HPKE-v1" + suite + label + info, length)

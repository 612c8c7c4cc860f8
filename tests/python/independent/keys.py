"""Sections 1 and 5: the hash, HKDF, signatures, and the keys and labels that follow from an identity and a founder."""

import hmac
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from independent.codec import Forged


def h(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()


def authenticate(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, message, "sha256")


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract of RFC 5869. An empty salt is as one of 32 zero bytes."""
    return authenticate(salt, secret)


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869."""
    blocks = [b""]
    while len(blocks) * 32 < length + 32:
        blocks.append(authenticate(prk, blocks[-1] + info + bytes([len(blocks)])))
    return b"".join(blocks)[:length]


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return expand(extract(salt, secret), info, length)


class SigningKey:
    """An Ed25519 key, made from its seed."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._key.sign(_signed(purpose, message))


def verify(public: bytes, purpose: str, message: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(purpose, message))
    except (InvalidSignature, ValueError) as error:
        raise Forged(f"the signature of a {purpose} is wrong") from error


def _signed(purpose: str, message: bytes) -> bytes:
    return f"a2alinker/1 {purpose}\0".encode() + message


def routing_key(founder: SigningKey) -> SigningKey:
    """V: the swarm, as a switchboard knows it."""
    return SigningKey(hkdf(b"", founder.seed, b"a2alinker/1 routing key", 32))


def link_key(identity: SigningKey, v: bytes) -> SigningKey:
    return SigningKey(hkdf(v, identity.seed, b"a2alinker/1 link key", 32))


def agent_label(public_link_key: bytes) -> bytes:
    return h(b"a2alinker/1 agent label\0", public_link_key)[:16]


def slot_label(slot: int) -> bytes:
    return h(b"a2alinker/1 slot label\0", slot.to_bytes(4, "big"))[:16]

"""Section 6: padding, AES-256-GCM-SIV, and the envelope, which is sealed to a prekey and needs no answer."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from independent import hpke, xwing
from independent.codec import Forged, Malformed, Random, Reader, bytes32, u8, u32
from independent.keys import SigningKey, h, verify
from independent.outer import DataFrame, Kind, OuterHeader

LIMIT = 32_768  # bytes of padded plaintext
STEPS = (256, 1_024, 4_096)  # bytes: the small sizes


def padded_length(length: int) -> int:
    """Rounds up `length`, which counts the four bytes of the length field too."""
    for step in STEPS:
        if length <= step:
            return step
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())  # floor(log2 E) + 1 is how many bits E has
    return -(-length // unit) * unit


def pad(content: bytes) -> bytes:
    plaintext = u32(len(content)) + content
    length = padded_length(len(plaintext))
    if length > LIMIT:
        raise Malformed("too long to be sealed")
    return plaintext.ljust(length, b"\0")


def unpad(plaintext: bytes) -> bytes:
    fields = Reader(plaintext)
    content = fields.bytes32(LIMIT)
    if len(plaintext) > LIMIT or any(fields.rest()):
        raise Malformed("padding that isn't zero")
    return content


def aead_seal(key: bytes, nonce: bytes, aad: bytes, content: bytes) -> bytes:
    return AESGCMSIV(key).encrypt(nonce, pad(content), aad)


def aead_open(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    try:
        return unpad(AESGCMSIV(key).decrypt(nonce, sealed, aad))
    except (InvalidTag, ValueError) as error:
        raise Forged("the seal doesn't open") from error


INFO = b"a2alinker/1 envelope"
OPENER = 1  # the payload kind that opens a session


@dataclass(frozen=True)
class Envelope:
    """What is inside, once the sender's signature was good. Who the sender may be is for others to decide."""

    sender: bytes
    receiver_run: bytes
    payload_kind: int
    payload: bytes
    context: hpke.Context


def prekey_id(prekey: bytes) -> int:
    """Names the prekey in the field that counts frames elsewhere."""
    return int.from_bytes(h(prekey)[:8], "big")


def seal_envelope(
    sender: SigningKey,
    receiver: bytes,
    prekey: bytes,
    header: OuterHeader,
    random: Random,
    *,
    payload_kind: int,
    payload: bytes,
    receiver_run: bytes = bytes(16),
) -> tuple[DataFrame, hpke.Context]:
    enc, context = hpke.sender(prekey, INFO, random(xwing.ENCAPSULATION_SEED))
    aad = header.encode()
    fields = sender.public + receiver + h(prekey)
    inner = u8(payload_kind) + bytes32(payload)
    signature = sender.sign("envelope", u8(1) + fields + enc + aad + receiver_run + u8(payload_kind) + payload)
    body = fields + receiver_run + inner + signature
    return DataFrame(header, enc + context.seal(aad, pad(body))), context


def open_envelope(frame: DataFrame, prekey: xwing.PrivateKey, receiver: bytes) -> Envelope:
    enc, ciphertext = frame.sealed[: xwing.ENCAPSULATION], frame.sealed[xwing.ENCAPSULATION :]
    if frame.header.counter != prekey_id(prekey.public) or frame.header.generation != 0:
        raise Forged("sealed to another prekey")
    context = hpke.receiver(prekey, enc, INFO)
    aad = frame.header.encode()
    body = Reader(unpad(context.open(aad, ciphertext)))
    sender, named, prekey_hash, run = body.take(32), body.take(32), body.take(32), body.take(16)
    kind, payload, signature = body.u8(), body.bytes32(), body.take(64)
    body.end()
    signed = u8(1) + sender + named + prekey_hash + enc + aad + run + u8(kind) + payload
    verify(sender, "envelope", signed, signature)
    if named != receiver or prekey_hash != h(prekey.public):
        raise Forged("an envelope for somebody else")
    if (kind == OPENER) != (frame.header.kind == Kind.OPENER):
        raise Malformed("an opener in an envelope, or the other way round")
    return Envelope(sender, run, kind, payload, context)

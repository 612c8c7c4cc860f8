"""X-Wing (draft-connolly-cfrg-xwing-kem): X25519 and ML-KEM-768 as one key encapsulation, safe as long as either of them is."""

from hashlib import sha3_256, shake_256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from kyber_py.ml_kem import ML_KEM_768

from independent.codec import Forged, Malformed

PUBLIC_KEY = 1216  # bytes: 1,184 of ML-KEM, 32 of X25519
ENCAPSULATION = 1120  # bytes: 1,088 of ML-KEM, 32 of X25519
ENCAPSULATION_SEED = 64  # random bytes that an encapsulation takes: 32 for ML-KEM, 32 for X25519
LABEL = b"\\.//^\\"


class PrivateKey:
    """A key pair, made from its seed of 32 bytes: that is the private key, and all that need be kept of it."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        expanded = shake_256(seed).digest(96)
        public_ml_kem, self._ml_kem = ML_KEM_768.key_derive(expanded[:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public: bytes = public_ml_kem + self._x25519.public_key().public_bytes_raw()

    def decapsulate(self, enc: bytes) -> bytes:
        """Gives the shared secret of 32 bytes. A wrong encapsulation of the right length gives a wrong secret, no error."""
        if len(enc) != ENCAPSULATION:
            raise Malformed("an encapsulation of another length")
        ml_kem, x25519 = enc[:-32], enc[-32:]
        return _combine(ML_KEM_768.decaps(self._ml_kem, ml_kem), _agree(self._x25519, x25519), x25519, self.public[-32:])


def encapsulate(public: bytes, seed: bytes) -> tuple[bytes, bytes]:
    """Gives a shared secret and the encapsulation that carries it to the holder of the private key."""
    if len(public) != PUBLIC_KEY:
        raise Malformed("an X-Wing key of another length")
    try:
        ml_kem_secret, ml_kem = ML_KEM_768._encaps_internal(public[:-32], seed[:32])
    except ValueError as error:
        raise Malformed("not an ML-KEM key") from error
    ephemeral = X25519PrivateKey.from_private_bytes(seed[32:])
    x25519 = ephemeral.public_key().public_bytes_raw()
    return _combine(ml_kem_secret, _agree(ephemeral, public[-32:]), x25519, public[-32:]), ml_kem + x25519


def _agree(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise Forged("an X25519 key of low order") from error


def _combine(ml_kem_secret: bytes, x25519_secret: bytes, x25519_enc: bytes, x25519_public: bytes) -> bytes:
    return sha3_256(ml_kem_secret + x25519_secret + x25519_enc + x25519_public + LABEL).digest()

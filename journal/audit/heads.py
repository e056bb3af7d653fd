"""The head of a chain, signed with a key from outside (Ed25519). Kept elsewhere, it shows later whether anything
before it changed.

Needs `cryptography`, the extra `sign`; only the functions that sign and check load it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.chain import DIGEST_BYTES, Anchor
from journal.errors import JournalError

FORMAT = 1


class KeyFailed(JournalError):
    """A key, a signature or a head's file is no use; `str()` says why."""


class SignatureWrong(KeyFailed):
    """The signature is not this key's over this head."""


class CryptographyMissing(KeyFailed):
    """The extra `sign` is not installed."""


@dataclass(frozen=True, slots=True)
class Head:
    """`journal`: the identity of the journal, its meta `created_ns`."""

    journal: int
    anchor: Anchor

    def message(self) -> bytes:
        """What is signed: five lines of ASCII."""
        at = self.anchor
        return f"steadfs head {FORMAT}\n{self.journal}\n{at.commit_seq}\n{at.last}\n{at.digest.hex()}\n".encode()


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head and 64 bytes of signature."""

    head: Head
    signature: bytes


def sign(head: Head, private_pem: bytes) -> SignedHead:
    """`private_pem`: an unencrypted Ed25519 key (`openssl genpkey -algorithm ed25519`). Raises KeyFailed."""
    ed25519, serialization = _cryptography()
    try:
        key = serialization.load_pem_private_key(private_pem, None)
    except (ValueError, TypeError) as error:
        raise KeyFailed(f"not a private key: {error}; make one with openssl genpkey -algorithm ed25519") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise KeyFailed("the private key is not an Ed25519 key; make one with openssl genpkey -algorithm ed25519")
    return SignedHead(head, key.sign(head.message()))


def check(signed: SignedHead, public_pem: bytes) -> None:
    """Raises SignatureWrong when the signature is not this key's over this head, KeyFailed when the key is no use."""
    ed25519, serialization = _cryptography()
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415

    try:
        key = serialization.load_pem_public_key(public_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFailed(f"not a public key: {error}; get it with openssl pkey -pubout") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise KeyFailed("the public key is not an Ed25519 key")
    try:
        key.verify(signed.signature, signed.head.message())
    except InvalidSignature as error:
        raise SignatureWrong("the signature is not this key's, or the head was altered; trust neither") from error


def read_signed(head: Path, public_key: Path) -> SignedHead:
    """A head's file whose signature was checked with the key in another; raises KeyFailed."""
    signed = from_text(read_key(head, "--head").decode(errors="replace"))
    check(signed, read_key(public_key, "--public-key"))
    return signed


def read_key(path: Path, option: str) -> bytes:
    """What a file holds; raises KeyFailed with the option that named it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFailed(f"{option}: {path}: {error.strerror}; name a file that can be read") from error


def to_text(signed: SignedHead) -> str:
    """A JSON document of one line for each field."""
    head = signed.head
    about = {
        "format": FORMAT,
        "journal": head.journal,
        "commit": head.anchor.commit_seq,
        "last": head.anchor.last,
        "digest": head.anchor.digest.hex(),
        "signature": signed.signature.hex(),
    }
    return json.dumps(about, indent=2) + "\n"


def from_text(text: str) -> SignedHead:
    """The inverse of `to_text`; raises KeyFailed."""
    try:
        about = json.loads(text)
        digest = bytes.fromhex(about["digest"])
        if about["format"] != FORMAT or len(digest) != DIGEST_BYTES:
            raise ValueError("another format")
        at = Anchor(int(about["commit"]), int(about["last"]), digest)
        return SignedHead(Head(int(about["journal"]), at), bytes.fromhex(about["signature"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFailed(f"not a signed head ({error}); give a file that `sign` wrote") from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra that most never need
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise CryptographyMissing("signatures need the extra: pip install 'steadfs[sign]'") from error
    return ed25519, serialization

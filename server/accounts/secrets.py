"""Passwords and tokens: how they are made, hashed and compared. No database."""

import hashlib
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

TOKEN_PREFIX = "nf_"
MIN_PASSWORD = 10
MAX_PASSWORD = 200

_hasher = PasswordHasher()
# One hash takes 64 MiB: a flood of logins must not take all memory.
_hashing = threading.Semaphore(2)


def hash_password(password: str) -> str:
    """argon2id of ``password`` (RFC 9106, low-memory profile)."""
    with _hashing:
        return _hasher.hash(password)


# What an unknown user is compared with, so that the answer takes as long as for a known one.
_NOBODY = hash_password(secrets.token_urlsafe())


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether ``password`` belongs to the hash; without a hash always False, in the same time."""
    with _hashing:
        try:
            _hasher.verify(password_hash or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def new_password() -> str:
    """A random password of 120 bits."""
    return secrets.token_urlsafe(15)


def new_token(prefix: str = "") -> str:
    """A random token of 256 bits."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """sha256, hex. A token is random, so a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()

"""Bearer keys. Compares digests in constant time; knows no tenants."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request
from pydantic import SecretStr

from longfold_server.codes import Code
from longfold_server.problems import RequestProblem, problem

ANYBODY = ""
"""The scope of requests to a service without keys."""


class Keys:
    """The accepted keys, held as SHA-256 digests: they are long and random, so no slow hash is needed."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    def scope(self, request: Request) -> str:
        """Whose request this is: a digest that scopes idempotency keys, `ANYBODY` without configured keys.

        Raises `RequestProblem` (401).
        """
        if not self._digests:
            return ANYBODY
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = _digest(key.strip())
        # Every key is compared, whichever matches first.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(matches):
            found = problem(Code.UNAUTHORIZED, "send a valid key as 'Authorization: Bearer KEY'")
            raise RequestProblem(found, {"WWW-Authenticate": "Bearer"})
        return given


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

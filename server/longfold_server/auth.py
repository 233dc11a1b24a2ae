"""Who asks: bearer keys, those of the settings and those of the key store, and how often each may. Knows no route."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longfold_server.codes import Code
from longfold_server.problems import RequestProblem, problem
from longfold_server.tenants.keys import KEY, Key, KeyStore, digest, static_tenant
from longfold_server.tenants.limits import TenantLimits
from longfold_server.tenants.usage import Standing, Usage

ANYBODY = ""
"""The tenant of every request to a service without keys."""
REMEMBERED_SECONDS = 5.0
"""How long a stored key is not looked up again; so long a revoked key may still be accepted."""
MOST_REMEMBERED = 10_000

bearer = HTTPBearer(auto_error=False, description="A key of the service; none is needed where it runs without keys.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    tenant: str
    """Owner of jobs and documents; "" when the service runs without keys."""
    key_id: str
    """May be shown and logged, unlike the key."""
    limits: TenantLimits


class Access:
    """Tells callers by their keys. Static keys are held as SHA-256 digests, each with a tenant of its own."""

    def __init__(
        self,
        static: Sequence[SecretStr],
        keys: KeyStore,
        usage: Usage,
        defaults: TenantLimits,
        *,
        required: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._static = [digest(key.get_secret_value()) for key in static]
        self._keys = keys
        self._usage = usage
        self._defaults = defaults
        self._open = not static and not required
        self._clock = clock
        self._remembered: dict[str, tuple[float, Key]] = {}

    async def caller(self, key: str | None) -> Caller:
        """The holder of a key. Raises `RequestProblem` (401 without a valid key, 403 with a revoked one),
        `StoreUnavailable`."""
        if self._open:
            return Caller(ANYBODY, "", self._defaults)
        given = digest(key or "")
        # Every static key is compared, whichever matches first.
        matches = [hmac.compare_digest(given, static) for static in self._static]
        if any(matches):
            name = static_tenant(key or "")
            return Caller(name, name, self._defaults)
        found = await self._stored(key or "")
        if found is None or not hmac.compare_digest(given, found.digest):
            raise RequestProblem(
                problem(Code.UNAUTHORIZED, "send a valid key as 'Authorization: Bearer KEY'"),
                {"WWW-Authenticate": "Bearer"},
            )
        if found.revoked is not None:
            raise RequestProblem(problem(Code.KEY_REVOKED, f"the key {found.id} was revoked; ask for another"))
        return Caller(found.tenant, found.id, found.limits.over(self._defaults))

    async def count(self, caller: Caller) -> Standing | None:
        """Counts a request against the key's rate; None where there is none."""
        rate = caller.limits.rate
        return None if rate is None else await self._usage.request(caller.key_id, rate)

    async def _stored(self, key: str) -> Key | None:
        named = KEY.fullmatch(key)
        if named is None:
            return None
        key_id, now = named[1], self._clock()
        until, found = self._remembered.get(key_id, (0.0, None))
        if found is not None and now < until:
            return found
        found = await self._keys.find(key_id)
        self._remembered.pop(key_id, None)
        if found is not None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key_id] = (now + REMEMBERED_SECONDS, found)
        return found


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """The dependency of every route that belongs to somebody. Raises `RequestProblem` (401, 403, 429),
    `StoreUnavailable`.

    A cancellation is not counted: it only takes load away.
    """
    access = request.app.state.resources.access
    assert isinstance(access, Access)
    found = await access.caller(None if credentials is None else credentials.credentials.strip())
    request.state.key_id = found.key_id
    standing = None if request.method == "DELETE" else await access.count(found)
    if standing is not None:
        request.state.rate = standing
        if not standing.admitted:
            detail = f"the limit of this key is {standing.rate} requests"
            raise RequestProblem(problem(Code.RATE_LIMITED, detail, retry_after=math.ceil(standing.seconds)))
    return found


CallerDep = Annotated[Caller, Depends(caller)]


class RateFields:
    """Adds `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) to replies to limited keys.

    The draft's fields and not the older trio of `X-RateLimit-*`: one meaning for all servers, seconds instead of either
    seconds or a date, and the window's length.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        state = scope.setdefault("state", {})

        async def telling(message: Message) -> None:
            standing = state.get("rate")
            if message["type"] == "http.response.start" and standing is not None:
                message["headers"] = [*message.get("headers", []), *_fields(standing)]
            await send(message)

        await self._app(scope, receive, telling)


def _fields(standing: Standing) -> list[tuple[bytes, bytes]]:
    policy = f'"requests";q={standing.rate.count};w={standing.rate.seconds}'
    now = f'"requests";r={standing.left};t={math.ceil(standing.seconds)}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]

"""`longfold-server keys`: makes, lists and revokes API keys. Imports nothing heavy to show help."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from longfold_server.arguments import count
from longfold_server.tenants.limits import Rate, TenantLimits

if TYPE_CHECKING:
    from longfold_server.settings import Settings
    from longfold_server.tenants.keys import Key, KeyStore

TEXT = "make, list and revoke API keys"
MEGABYTE = 1_000_000
COLUMNS = ("ID", "NAME", "TENANT", "CREATED", "STATUS", "LIMITS")


def add(parser: argparse.ArgumentParser) -> None:
    """The grammar of `keys`."""
    commands = parser.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and print it, once", description=CREATE)
    create.add_argument("name", metavar="NAME", help="who has it, or what for")
    create.add_argument("--tenant", metavar="T", help="the key's tenant, which other keys may share (default: its own)")
    create.add_argument("--rate", type=_rate, metavar="N/UNIT", help="requests per second, minute, hour or day")
    create.add_argument("--jobs", type=count, metavar="N", help="unfinished jobs of the tenant")
    create.add_argument("--tokens-per-day", type=count, metavar="N", help="model tokens of the tenant's jobs in a day")
    create.add_argument("--max-documents", type=count, metavar="N", help="documents of one request")
    create.add_argument("--upload-mb", type=count, metavar="N", help="megabytes of one upload")
    commands.add_parser("list", help="list the keys, never their secrets")
    revoke = commands.add_parser("revoke", help="end a key for good")
    revoke.add_argument("id", metavar="ID", help="as `keys list` shows it")


CREATE = "Make a key. It is printed on stdout and stored nowhere. Limits that are not given are those of the service."


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Does what was asked; the exit status. Raises `StoreUnavailable`, `KeyNotFound`."""
    import asyncio

    from longfold_server.jobs.connection import close, connect
    from longfold_server.tenants.keys import KeyStore

    async def doing() -> int:
        redis = connect(settings.redis_url, cluster=settings.redis_cluster)
        try:
            return await _do(arguments, settings, KeyStore(redis, settings.redis_prefix))
        finally:
            await close(redis)

    return asyncio.run(doing())


async def _do(arguments: argparse.Namespace, settings: Settings, keys: KeyStore) -> int:
    from longfold_server.auth import REMEMBERED_SECONDS

    if arguments.keys_command == "create":
        limits = TenantLimits(
            rate=arguments.rate,
            jobs=arguments.jobs,
            tokens_per_day=arguments.tokens_per_day,
            max_documents=arguments.max_documents,
            upload_bytes=None if arguments.upload_mb is None else arguments.upload_mb * MEGABYTE,
        )
        try:
            text, key = await keys.create(arguments.name, arguments.tenant, limits)
        except ValueError as error:
            _note(str(error))
            return 1
        sys.stdout.write(f"{text}\n")
        _note(f"key {key.id} of tenant {key.tenant}; it is not shown again")
        if not (settings.require_keys or settings.api_keys):
            _note("a service with these settings asks for no keys: set LONGFOLD_REQUIRE_KEYS=true where it runs")
    elif arguments.keys_command == "list":
        rows = [COLUMNS, *map(_row, await keys.all())]
        widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
        for row in rows:
            sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            sys.stdout.write("\n")
    else:
        key = await keys.revoke(arguments.id)
        _note(f"key {key.id} ({key.name}) is revoked; replicas notice within {REMEMBERED_SECONDS:.0f} s")
    return 0


def _row(key: Key) -> tuple[str, ...]:
    limits = key.limits
    told = {
        "rate": limits.rate,
        "jobs": limits.jobs,
        "tokens/day": limits.tokens_per_day,
        "documents": limits.max_documents,
        "MB": None if limits.upload_bytes is None else limits.upload_bytes // MEGABYTE,
    }
    return (
        key.id,
        key.name,
        key.tenant,
        f"{key.created:%Y-%m-%d}",
        "active" if key.revoked is None else f"revoked {key.revoked:%Y-%m-%d}",
        ", ".join(f"{name} {value}" for name, value in told.items() if value is not None) or "the service's",
    )


def _note(text: str) -> None:
    sys.stderr.write(f"longfold-server: {text}\n")


def _rate(text: str) -> Rate:
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

"""The command `longfold-server`: the whole stack (`up`), one process of it (`serve`, `api`, `worker`), or its `keys`.
Imports nothing heavy to show help."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from longfold_server.arguments import count, network, path, port, url
from longfold_server.tenants import command as keys
from longfold_server.webhooks import command as webhook_secret

if TYPE_CHECKING:
    from longfold_server.settings import Settings

PROFILES = ("demo", "general", "qwenlong")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(
        prog="longfold-server",
        description="Answers questions over documents far larger than any context window.",
        epilog="serve, api, worker and keys read their settings from LONGFOLD_* variables.",
    )
    parser.add_argument("--version", action="version", version=f"longfold-server {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(
        commands.add_parser("up", help="start everything on this machine: Redis, vLLM and the service", description=UP)
    )
    for name, text in ROLES.items():
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("--host", help="address to listen on (LONGFOLD_HOST)")
        one.add_argument("--port", type=port, help="port to listen on (LONGFOLD_PORT)")
    keys.add(commands.add_parser("keys", help=keys.TEXT, description=keys.TEXT[0].upper() + keys.TEXT[1:] + "."))
    webhook_secret.add(
        commands.add_parser("webhook-secret", help=webhook_secret.TEXT, description=webhook_secret.DESCRIPTION)
    )
    arguments = parser.parse_args(argv)
    if arguments.command == "up":
        return _up(arguments)
    if arguments.command == "keys":
        return _with_settings({}, lambda settings: keys.run(arguments, settings))
    if arguments.command == "webhook-secret":
        return _with_settings({}, lambda settings: webhook_secret.run(arguments, settings))
    return _serve(arguments)


def up(argv: Sequence[str]) -> int:
    """`longfold up`: the same as `longfold-server up`."""
    parser = argparse.ArgumentParser(prog="longfold up", description=UP)
    _add_up(parser)
    return _up(parser.parse_args(list(argv)))


UP = (
    "Start Redis, vLLM and the service on this machine and keep them running until Ctrl-C. "
    "Without options it serves the small demo policy that ships with longfold, on the CPU."
)
ROLES = {
    "serve": "API and worker in one process",
    "api": "the HTTP API only; workers run elsewhere",
    "worker": "a worker only; it listens for health checks and metrics",
}


def _version() -> str:
    try:
        return version("longfold-server")
    except PackageNotFoundError:
        return "(not installed)"


def _add_up(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("model")
    engine.add_argument(
        "--model", metavar="PATH_OR_NAME", help="model folder or hub name to serve (default: the demo policy)"
    )
    engine.add_argument(
        "--engine-url",
        action="append",
        default=[],
        type=url,
        metavar="URL",
        help="use a running vLLM instead of starting one (repeatable)",
    )
    engine.add_argument(
        "--profile", choices=PROFILES, help="how the model is asked (default: demo for the demo policy, else general)"
    )
    engine.add_argument(
        "--tokenizer", type=path, metavar="PATH", help="the model's tokenizer.json (default: the one beside the model)"
    )
    engine.add_argument(
        "--max-model-len",
        type=count,
        metavar="N",
        help="context window in tokens (default: the model's, at most 98304 once its config.json is here)",
    )
    engine.add_argument(
        "--kv-cache-gib", type=count, default=1, metavar="N", help="KV cache of a vLLM on the CPU, in GiB (default: 1)"
    )
    engine.add_argument(
        "--vllm-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="further flag for vLLM, as --vllm-flag=--x=y (repeatable)",
    )
    service = parser.add_argument_group("service")
    service.add_argument(
        "--host", default=os.environ.get("LONGFOLD_HOST", "127.0.0.1"), help="address to listen on (default: 127.0.0.1)"
    )
    service.add_argument(
        "--port",
        type=port,
        default=os.environ.get("LONGFOLD_PORT") or 8080,
        help="port to listen on, 0 for any free one (default: 8080)",
    )
    service.add_argument(
        "--data-dir", type=path, metavar="DIR", help="documents, jobs and logs (default: ~/.local/share/longfold)"
    )
    service.add_argument(
        "--redis-url",
        metavar="URL",
        default=os.environ.get("REDIS_URL") or None,
        help="use this Redis (default: $REDIS_URL, else one of our own)",
    )
    service.add_argument(
        "--allow-network",
        action="append",
        default=[],
        type=network,
        metavar="CIDR",
        help="private network documents may come from (repeatable)",
    )
    service.add_argument(
        "--allow-port",
        action="append",
        default=[],
        type=port,
        metavar="N",
        help="port besides 80 and 443 documents may come from (repeatable)",
    )


def _up(arguments: argparse.Namespace) -> int:
    if os.name != "posix":
        return _fail("the stack needs Linux or another Unix; on Windows use WSL")
    import asyncio

    from longfold_server.stack.console import Screen
    from longfold_server.stack.errors import StackError
    from longfold_server.stack.up import Stack, StackOptions, default_data_dir, up

    try:
        data_dir = arguments.data_dir or default_data_dir()
    except RuntimeError:
        return _fail("this user has no home directory: pass --data-dir")
    options = StackOptions(
        data_dir=data_dir,
        model=arguments.model,
        engine_urls=tuple(arguments.engine_url),
        profile=arguments.profile,
        tokenizer=arguments.tokenizer,
        host=arguments.host,
        port=arguments.port,
        max_model_len=arguments.max_model_len,
        kv_cache_gib=arguments.kv_cache_gib,
        redis_url=arguments.redis_url,
        allow_networks=tuple(arguments.allow_network),
        allow_ports=tuple(arguments.allow_port),
        vllm_flags=tuple(arguments.vllm_flag),
    )
    screen = Screen()

    def ready(stack: Stack) -> None:
        screen.settle()
        screen.console.print(f"\nlongfold is ready at {stack.url}", style="bold", soft_wrap=True)
        screen.console.print(
            f'  longfold ask "What is ...?" --file PATH --server {stack.url}\n'
            f"  data and logs: {options.data_dir}\n  Ctrl-C ends it\n",
            soft_wrap=True,
        )

    try:
        with screen:
            stack = Stack(options, report=screen, note=screen.note)
            return asyncio.run(up(stack, ready))
    except StackError as error:
        return _fail(str(error))
    except OSError as error:  # the data directory: a full disk, a part of it that is somebody else's
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"the stack cannot run: {where}{error.strerror or error}")


def _serve(arguments: argparse.Namespace) -> int:
    roles = {"serve": "api,worker", "api": "api", "worker": "worker"}[arguments.command]
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None
    }
    given["roles"] = roles

    def serve(settings: Settings) -> int:
        from longfold_server.serve import serve

        return serve(settings)

    return _with_settings(given, serve)


def _with_settings(given: dict[str, Any], work: Callable[[Settings], int]) -> int:
    """Does `work` with the settings of the environment; what is wrong with them, or with the service, is one
    sentence."""
    from pydantic import ValidationError

    from longfold_server.errors import ServerError
    from longfold_server.settings import Settings, in_words

    try:
        return work(Settings(**given))
    except ValidationError as error:
        return _fail(in_words(error))
    except ServerError as error:
        return _fail(str(error))


def _fail(text: str) -> int:
    sys.stderr.write(f"longfold-server: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

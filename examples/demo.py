"""The whole of longfold in one command: `python examples/demo.py` (or `make demo`). No GPU, no account, no network.

Starts Redis, vLLM with the demo policy and the service on this machine; serves documents of more than 200,000 tokens
over HTTP; asks through the `longfold ask` command line; and compares each answer with the fact that was planted.
Exit status 0 when every answer is right. With `--keep` everything stays up for questions of your own.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import demo_documents

from longfold_agent.errors import AgentError
from longfold_agent.tokens import load_tokens
from longfold_server.stack.console import Screen
from longfold_server.stack.errors import StackError
from longfold_server.stack.models import POLICY
from longfold_server.stack.up import Stack, StackOptions

TOKENS = 205_000
"""The demo reads more than 200,000 tokens for every question."""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--keep", action="store_true", help="leave everything running after the questions")
    parser.add_argument("--seed", type=int, default=11, help="other facts, elsewhere in the documents (default: 11)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"size of the documents (default: {TOKENS:,})")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="longfold-demo-") as folder:
            return asyncio.run(demo(options, Path(folder)))
    except (StackError, AgentError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped", file=sys.stderr)
        return 130


async def demo(options: argparse.Namespace, folder: Path) -> int:
    """Start, ask, compare, stop."""
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    tokenizer = POLICY / "tokenizer.json"
    pages, truths, tokens = demo_documents.make(load_tokens(tokenizer).count, options.tokens, options.seed)
    with serve(pages) as base, Screen() as screen:
        port = int(base.rpartition(":")[2])
        print(f"{len(pages)} documents with {tokens:,} tokens at {base}\n", flush=True)
        stack = Stack(
            StackOptions(data_dir=folder, port=0, allow_networks=("127.0.0.0/8",), allow_ports=(port,)),
            report=screen,
            note=screen.note,
        )
        try:
            await stack.start()
            screen.settle()
            urls = [f"{base}/{page.name}" for page in pages]
            ready = time.monotonic()
            right = [await ask(truth, urls, stack.url) for truth in truths]
            now = time.monotonic()
            print(
                f"\n{sum(right)} of {len(right)} answers are right. {now - began:.0f} s altogether: "
                f"{ready - began:.0f} s to start, {now - ready:.0f} s to read {tokens * len(truths):,} tokens.",
                flush=True,
            )
            if options.keep:
                await keep(stack, urls)
            return 0 if all(right) else 1
        finally:
            await stack.stop()


async def ask(truth: demo_documents.Truth, urls: list[str], server: str) -> bool:
    """Run `longfold ask` as a person would; whether its answer is the planted one."""
    print(f'\n$ longfold ask "{truth.question}" --url {urls[0]} ... ({len(urls)} documents; {truth.kind})', flush=True)
    words = [word for url in urls for word in ("--url", url)]
    argv = (sys.executable, "-m", "longfold_client", "ask", truth.question, *words, "--server", server)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):  # in a terminal it has got the Ctrl-C as well, and may have ended
            process.send_signal(signal.SIGINT)  # it cancels its job
        await process.wait()
        raise
    text = output.decode()
    print(text, end="")
    answer = text.partition("\n")[0].strip()
    right = process.returncode == 0 and answer.rstrip(".").casefold() == truth.answer.casefold()
    print(f"-> {'right' if right else f'WRONG: planted was {truth.answer!r}'}", flush=True)
    return right


async def keep(stack: Stack, urls: list[str]) -> None:
    """Stay up until Ctrl-C."""
    print(f"\nEverything stays up until Ctrl-C. The service: {stack.url} (documentation: {stack.url}/docs)\n")
    print("Ask in another terminal, for example:")
    print(f'  longfold ask "What is the access code of Norwick Museum?" --server {stack.url} \\')
    print(" \\\n".join(f"    --url {url}" for url in urls), flush=True)
    await stack.watch()


@contextmanager
def serve(pages: list[demo_documents.Page]) -> Iterator[str]:
    """An HTTP server of these pages on a free port of the loopback interface; its URL."""
    by_path = {f"/{page.name}": page for page in pages}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = by_path.get(self.path)
            if page is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", page.media_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())

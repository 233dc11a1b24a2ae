"""64 folds at once on one vLLM against the same calls sent raw: how much of the engine's throughput the service keeps.

Raw means: the very prompts of the folds, rendered beforehand, 64 streams at once, each sending its next call when the
last came back. Every fold reads another stretch of the manual, and the prefix cache is off, so that neither run
profits from the other.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import httpx
from prose import prose
from report import Row, report
from service import TOKENIZER, real_engine, stack

from longfold_agent import Call, CallKind, chunks, load_profile, load_tokens
from longfold_agent.chunks import Texts
from longfold_client import AsyncClient
from longfold_client.types import Mode

QUESTION = "What is the access code of Blue Lantern?"
CHARACTERS = 8_000
"""Per document: nine or ten chunks."""


async def raw(engine: str, texts: list[str]) -> float:
    """Seconds for all calls of all texts, sent without the service."""
    profile, tokens = load_profile("demo"), load_tokens(TOKENIZER)
    streams = []
    for text in texts:
        calls = [
            (Call(f"read/{c.index}", CallKind.READ, QUESTION, "", "", c.index), c.text)
            for c in chunks(Texts([text]), tokens, profile.budgets.chunk)
        ]
        calls.append((Call("answer", CallKind.ANSWER, QUESTION, "", ""), ""))
        bodies = []
        for call, chunk in calls:
            sampling = profile.sampling(call)
            body = {
                "model": "demo",
                "prompt": profile.render(call, chunk).text,
                "max_tokens": sampling.max_tokens,
                "temperature": 0,
            }
            bias = {str(token): value for token, value in sampling.logit_bias.items()}
            bodies.append(
                body
                | {"stop_token_ids": list(sampling.stop_token_ids), "logit_bias": bias or None}
                | dict(sampling.extra)
            )
        streams.append(bodies)

    async def send(client: httpx.AsyncClient, bodies: list[dict[str, object]]) -> None:
        for body in bodies:
            (await client.post(f"{engine}/v1/completions", json=body)).raise_for_status()

    async with httpx.AsyncClient(trust_env=False, timeout=600, limits=httpx.Limits(max_connections=None)) as client:
        started = time.perf_counter()
        await asyncio.gather(*(send(client, bodies) for bodies in streams))
        return time.perf_counter() - started


async def served(engine: str, texts: list[str]) -> float:
    """Seconds until all folds have answered, submitted at once."""
    async with (
        stack(engine, profile="demo", worker_concurrency=len(texts), speculation=0) as running,
        AsyncClient(running.url) as client,
    ):
        documents = [await client.upload(text.encode(), title=f"part {number}") for number, text in enumerate(texts)]
        started = time.perf_counter()
        jobs = await asyncio.gather(*(client.submit(QUESTION, [document], mode=Mode.FOLD) for document in documents))
        done = await asyncio.gather(*(client.wait(job.id) for job in jobs))
        seconds = time.perf_counter() - started
    if any(job.result is None for job in done):
        raise RuntimeError(f"a job did not complete: {next(job.error for job in done if job.result is None)}")
    return seconds


async def measure(folds: int) -> int:
    text = prose(2 * folds * CHARACTERS)
    parts = [text[at : at + CHARACTERS] for at in range(0, len(text), CHARACTERS)]
    async with real_engine("--no-enable-prefix-caching") as engine:
        await raw(engine, parts[:4])
        alone = await raw(engine, parts[:folds])
        whole = await served(engine, parts[folds:])
    rows = [
        Row(f"{folds} folds through the service", whole, "s"),
        Row("the same calls sent raw", alone, "s"),
        Row("throughput of the service / raw", alone / whole, "", ">= 0.95"),
    ]
    return report("concurrent_folds", rows, folds=folds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=64)
    return asyncio.run(measure(parser.parse_args().folds))


if __name__ == "__main__":
    raise SystemExit(main())

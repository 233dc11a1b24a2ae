"""One document of a million tokens through the whole service, on a real vLLM with the demo policy.

One fact is planted in it.

Beside it, on the same engine, model and document: a plain sequential loop as MemAgent's evaluation runs one (the
whole text tokenised first, the memory before the chunk, no gate, a fresh HTTP session per document). The loop's
answers are not compared: the demo policy was not trained on that prompt. Its wall and engine time are.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import httpx
from prose import prose
from report import Row, report
from service import TOKENIZER, real_engine, stack
from tokenizers import Tokenizer

from longfold_agent import load_tokens
from longfold_client import AsyncClient
from longfold_client.types import Mode

FACT = "The harbour master noted that the access code of Blue Lantern is 58213."
QUESTION = "What is the access code of Blue Lantern?"
VALUE = "58213"
CHUNK = 256
"""Tokens per chunk in the plain loop."""
MEMORY = 64
"""max_tokens of one memory update in the plain loop; our own profile's limit is of the same size."""


def document(size: int) -> tuple[str, int]:
    """Text of at least `size` tokens with the fact in its middle, and its exact size in tokens."""
    tokens = load_tokens(TOKENIZER)
    sample = prose(200_000)
    text = prose(int(size * 1.01 * len(sample) / tokens.count(sample)))
    middle = text.index("\n\n", len(text) // 2)
    text = f"{text[:middle]}\n\n{FACT}{text[middle:]}"
    return text, tokens.count(text)


async def engine_seconds(engine: str) -> float:
    """Seconds inside requests so far, as vLLM's own metrics count them."""
    async with httpx.AsyncClient(trust_env=False) as client:
        lines = (await client.get(f"{engine}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:e2e_request_latency_seconds_sum"))


async def through_service(engine: str, text: str) -> tuple[float, float, str, float]:
    """Wall seconds, engine seconds, the answer, and the tokens read."""
    async with stack(engine, profile="demo", speculation=15) as running, AsyncClient(running.url) as client:
        before = await engine_seconds(engine)
        started = time.perf_counter()
        uploaded = await client.upload(text.encode(), title="manual")
        job = await client.wait((await client.submit(QUESTION, [uploaded], mode=Mode.FOLD)).id)
        wall = time.perf_counter() - started
        if job.result is None:
            raise RuntimeError(f"the job did not complete: {job.error}")
        return wall, await engine_seconds(engine) - before, job.result.answer, job.progress.tokens_read


async def plain_loop(engine: str, text: str) -> tuple[float, float, int]:
    """Wall seconds, engine seconds and calls of the plain loop."""
    before = await engine_seconds(engine)
    started = time.perf_counter()
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    memory, calls = "none", 0
    async with httpx.AsyncClient(trust_env=False, timeout=600) as client:
        for at in range(0, len(ids), CHUNK):
            chunk = tokenizer.decode(ids[at : at + CHUNK])
            prompt = f"<q> {QUESTION}<mem> {memory}<plan> none<chunk>{chunk}<out>"
            body = {
                "model": "demo",
                "prompt": prompt,
                "max_tokens": MEMORY,
                "temperature": 0,
                "stop": ["<plan>", "<eos>"],
            }
            reply = await client.post(f"{engine}/v1/completions", json=body)
            reply.raise_for_status()
            memory = reply.json()["choices"][0]["text"].strip() or memory
            calls += 1
    return time.perf_counter() - started, await engine_seconds(engine) - before, calls


async def measure(size: int) -> int:
    text, tokens = document(size)
    # No prefix cache: the second run must not profit from the first.
    async with real_engine("--no-enable-prefix-caching") as engine:
        wall, inside, answer, read = await through_service(engine, text)
        # A tenth of the document is enough for a rate, and the loop takes several times longer.
        part = text[: len(text) // 10]
        loop_wall, loop_inside, calls = await plain_loop(engine, part)
    bar = "<= 150" if tokens >= 1_000_000 else ""
    rows = [
        Row(f"service: {tokens:,} tokens", wall, "s", bar),
        Row("service: inside the engine", inside, "s"),
        Row("service: wall / engine", wall / inside, ""),
        Row("service: right answer", float(answer == VALUE), "", ">= 1"),
        Row("service: document tokens read", read, "tokens"),
        Row("plain loop: wall time for the same tokens", loop_wall * 10, "s"),
        Row("plain loop: inside the engine", loop_inside * 10, "s"),
        Row("plain loop / service, wall", loop_wall * 10 / wall, ""),
    ]
    return report("million_tokens", rows, answer=answer, plain_loop_calls=calls, plain_loop_share=0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    return asyncio.run(measure(parser.parse_args().tokens))


if __name__ == "__main__":
    raise SystemExit(main())

"""One document of a million tokens through the whole service, on a real vLLM with the demo policy.

One fact is planted in it. Beside it, on the same engine, model and document: a plain sequential loop as MemAgent's
evaluation runs one (the whole text tokenised first, the memory before the chunk, no gate, a fresh HTTP session per
document). The loop's answers are not compared: the demo policy was not trained on that prompt. Its wall and engine
time are.

`--families` asks one question of each family instead, all at once, over a document that states the facts of all.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx
from prose import prose
from report import Row, report
from service import TOKENIZER, real_engine, stack
from tokenizers import Tokenizer

from longfold_agent import load_tokens
from longfold_client import AsyncClient
from longfold_client.types import Mode
from longfold_training.demo.evaluate import same


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its answer, and what the document says: fraction of its length -> sentence."""

    question: str
    answer: str
    said: Mapping[float, str]


SINGLE = Asked(
    "What is the access code of Blue Lantern?",
    "58213",
    {0.5: "The harbour master noted that the access code of Blue Lantern is 58213."},
)
FAMILIES = {
    "single": SINGLE,
    "update": Asked(
        "What is the budget of project Falcon?",
        "52,300 euros",
        {
            0.2: "The budget of project Falcon is 41,200 euros.",
            0.7: "The budget of project Falcon was changed to 52,300 euros.",
        },
    ),
    "choice": Asked(
        "What is the home port of the ferry Anna? A) Lisbon B) Genoa C) Tallinn",
        "C",
        {0.35: "According to the register, the home port of the ferry Anna is Tallinn."},
    ),
    "list": Asked(
        "Who are the passengers of the Sea Otter?",
        "Bernard Hale; Ann Orr; Carl Reed",
        {
            0.1: "Bernard Hale is a passenger of the Sea Otter.",
            0.55: "Among the passengers of the Sea Otter is Ann Orr.",
            0.9: "The Sea Otter has another passenger, Carl Reed.",
        },
    ),
    "count": Asked(
        "How many branches does Harlow Bank have?",
        "3",
        {
            0.15: "Wexcombe is a branch of Harlow Bank.",
            0.45: "One of the branches of Harlow Bank is Tarvik.",
            0.85: "Harlow Bank also has a branch called Norbel.",
        },
    ),
    "hops": Asked(
        "What is the phone number of the manager of Kestrel Foods?",
        "555-0192",
        {
            0.3: "The manager of Kestrel Foods is Edgar Tull.",
            0.65: "The phone number of Edgar Tull is 555-0192.",
        },
    ),
}
CHUNK = 256
"""Tokens per chunk in the plain loop."""
MEMORY = 64
"""max_tokens of one memory update in the plain loop; our own profile's limit is of the same size."""


def document(size: int, asked: Iterable[Asked]) -> tuple[str, int]:
    """Text of about `size` tokens that says what is asked for, each in a paragraph of its own, and its exact size in
    tokens."""
    tokens = load_tokens(TOKENIZER)
    sample = prose(200_000)
    text = prose(int(size * 1.01 * len(sample) / tokens.count(sample)))
    for fraction, sentence in sorted((item for one in asked for item in one.said.items()), reverse=True):
        place = text.index("\n\n", int(fraction * len(text)))
        text = f"{text[:place]}\n\n{sentence}{text[place:]}"
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
        job = await client.wait((await client.submit(SINGLE.question, [uploaded], mode=Mode.FOLD)).id)
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
            prompt = f"<q> {SINGLE.question}<mem> {memory}<plan> none<chunk>{chunk}<out>"
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
    text, tokens = document(size, [SINGLE])
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
        Row("service: right answer", float(answer == SINGLE.answer), "", ">= 1"),
        Row("service: document tokens read", read, "tokens"),
        Row("plain loop: wall time for the same tokens", loop_wall * 10, "s"),
        Row("plain loop: inside the engine", loop_inside * 10, "s"),
        Row("plain loop / service, wall", loop_wall * 10 / wall, ""),
    ]
    return report("million_tokens", rows, answer=answer, plain_loop_calls=calls, plain_loop_share=0.1)


async def measure_families(size: int) -> int:
    text, tokens = document(size, FAMILIES.values())
    async with real_engine() as engine, stack(engine, profile="demo") as running, AsyncClient(running.url) as client:
        started = time.perf_counter()
        uploaded = await client.upload(text.encode(), title="manual")
        jobs = [await client.submit(one.question, [uploaded], mode=Mode.FOLD) for one in FAMILIES.values()]
        ended = await asyncio.gather(*(client.wait(job.id) for job in jobs))
        wall = time.perf_counter() - started
    answers = [job.result.answer if job.result else f"failed: {job.error}" for job in ended]
    rows = [
        Row(f"{family}: right answer", float(same(answer, asked.answer)), "", ">= 1")
        for (family, asked), answer in zip(FAMILIES.items(), answers, strict=True)
    ]
    rows.append(Row(f"all six questions over {tokens:,} tokens", wall, "s"))
    return report("million_tokens_families", rows, answers=answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--families", action="store_true", help="one question of each family")
    options = parser.parse_args()
    return asyncio.run((measure_families if options.families else measure)(options.tokens))


if __name__ == "__main__":
    raise SystemExit(main())

"""How often the demo policy is right, through the whole service: exact match per family on material it has never seen.

Names, values, filler and sentence templates are held out from training; `--attributes heldout` takes attribute
phrases never seen in training as well. Answers are compared but for case, outer spaces, a final full stop and the
order of what is listed. `--layout marked` breaks every line at 72 columns and sets the asked values in bold, as
Markdown has it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import textwrap
from collections import Counter
from random import Random

from report import Row, report
from rich.progress import track
from service import TOKENIZER, real_engine, stack

from longfold_agent import load_tokens
from longfold_agent.profiles.demo import BETWEEN
from longfold_client import AsyncClient
from longfold_client.types import DocumentInfo, Mode
from longfold_training.demo.documents import FAMILIES, SEVERAL, Document, Item, generate
from longfold_training.demo.evaluate import same
from longfold_training.demo.material import Material

BARS = {"list": ">= 0.8", "count": ">= 0.8", "hops": ">= 0.7"}
"""Of the families whose answer rests on several facts, at 16 chunks."""


def documents(options: argparse.Namespace) -> list[Document]:
    """Documents with four questions of each family, `-n` questions per family or more altogether."""
    attributes = "heldout" if options.attributes == "heldout" else "train"
    material = Material(attributes=attributes, templates=options.templates)
    rng = Random(f"benchmark/{options.seed}/{options.chunks}/{options.attributes}/{options.templates}")
    count = load_tokens(TOKENIZER).count
    made = track(range(-(-options.n // 4)), description="writing documents")
    return [
        generate(
            rng, chunks=options.chunks, count=count, chunk_tokens=options.size, per_family=4,
            families=options.families, material=material,
        )
        for _ in made
    ]  # fmt: skip


def marked(document: Document) -> str:
    """The document's text as a Markdown file in lines of 72 columns, in bold what its questions ask for."""
    values = {value for item in document.items for memory in item.memories for value in memory.split(BETWEEN) if value}
    longest_first = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    text = re.sub(rf"(?<!\w)({longest_first})(?!\w)", r"**\1**", document.text)
    return "\n".join(textwrap.fill(line, 72, break_on_hyphens=False) for line in text.split("\n"))


async def ask(client: AsyncClient, document: DocumentInfo, item: Item) -> tuple[str, bool, str, int]:
    """Family, whether the answer is right, a line about it when it is wrong, and the number of steps."""
    job = await client.wait((await client.submit(item.question, [document], mode=Mode.FOLD)).id)
    if job.result is None:
        return item.family, False, f"{item.question!r}: failed, {job.error}", 0
    right = same(job.result.answer, item.answer)
    said = (
        "" if right else f"{item.question!r}: {job.result.answer!r}, not {item.answer!r}; memory {job.result.memory!r}"
    )
    return item.family, right, said, job.progress.chunks_read


async def measure(options: argparse.Namespace) -> int:
    made = documents(options)
    asked, right, wrong, steps = Counter[str](), Counter[str](), list[str](), 0
    async with real_engine() as engine:
        settings = {"worker_concurrency": 12, "speculation": 0}
        async with stack(engine, profile="demo", **settings) as running, AsyncClient(running.url) as client:
            for number in track(range(len(made)), description="reading"):
                text = marked(made[number]) if options.layout == "marked" else made[number].text
                uploaded = await client.upload(text.encode(), title=f"document {number}")
                replies = await asyncio.gather(*(ask(client, uploaded, item) for item in made[number].items))
                for family, ok, said, read in replies:
                    asked[family] += 1
                    right[family] += ok
                    steps += read
                    wrong += [said] if said else []
    bars = dict.fromkeys(FAMILIES, ">= 0.9" if options.attributes == "seen" else ">= 0.8") | BARS
    rows = [
        Row(f"{family}, exact match (n = {asked[family]})", right[family] / asked[family], "", bars[family])
        for family in options.families
    ]
    name = f"demo_policy_{options.chunks}x{options.size}_{options.templates}_{options.attributes}"
    if tuple(options.families) != FAMILIES:
        name += "_" + "_".join(options.families)
    if options.layout != "plain":
        name += f"_{options.layout}"
    return report(name, [*rows, Row("steps", steps, "steps")], seed=options.seed, wrong=wrong[:60])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=16)
    parser.add_argument("--size", type=int, default=256, help="tokens per stretch")
    parser.add_argument("-n", type=int, default=200, help="questions per family")
    parser.add_argument("--attributes", choices=("seen", "heldout"), default="seen")
    parser.add_argument("--families", nargs="+", choices=FAMILIES + SEVERAL, default=FAMILIES)
    parser.add_argument("--templates", choices=("everyday", "heldout", "grammar"), default="everyday")
    parser.add_argument("--layout", choices=("plain", "marked"), default="plain")
    parser.add_argument("--seed", type=int, default=1)
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())

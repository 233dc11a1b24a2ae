"""Speed of the streaming chunker on one core, and that it loses nothing. Knows no service."""

from __future__ import annotations

import time

from prose import prose
from report import Row, report
from service import TOKENIZER

from longfold_agent import chunks, load_tokens
from longfold_agent.chunks import Texts


def main() -> int:
    tokens = load_tokens(TOKENIZER)
    text = prose(20_000_000)
    rows = []
    for budget in (256, 4096, 32_768):
        started = time.perf_counter()
        cut = list(chunks(Texts([text]), tokens, budget))
        seconds = time.perf_counter() - started
        if "".join(chunk.text for chunk in cut) != text:
            raise RuntimeError("the chunks are not the document")
        megabytes = len(text.encode()) / 1e6
        rows.append(Row(f"chunker, budget {budget} tokens", megabytes / seconds, "MB/s", ">= 5"))
        rows.append(Row(f"mean fill at {budget}", sum(chunk.tokens for chunk in cut) / len(cut) / budget, "of budget"))
    return report("chunker", rows, characters=len(text))


if __name__ == "__main__":
    raise SystemExit(main())

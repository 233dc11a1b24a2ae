"""Answers, jobs and steps as plain lines; knows neither colours nor where the lines go."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DOCUMENT_PREFIX
from ..types import AnswerResult, Citation, Job, ManifestEntry, StepView
from .text import clean, count, duration, one_line

QUOTE_WIDTH = 300
"""Characters of a quote: two or three lines of a terminal; `--json` has all of it."""
MOST_PARTS = 5
"""Parts of a document that are named among those left out."""


def answer_lines(result: AnswerResult) -> Iterator[tuple[str, bool]]:
    """The answer, its numbered citations and a summary, as (line, whether it is secondary)."""
    yield clean(result.answer).rstrip(), False
    if result.citations:
        yield "", False
        for number, citation in enumerate(result.citations, 1):
            yield from _citation(number, citation)
    yield "", False
    if result.stop == "output":
        yield "Partial answer: it reached the output limit and breaks off.", False
    elif result.stop == "invalid":
        yield "Partial answer: no reply of the reading could be used, so it knows nothing of the documents.", False
    elif result.partial:
        why = {"deadline": "the time was up", "tokens": "the token budget was spent"}.get(
            result.stop or "", result.stop or "cut"
        )
        yield f"Partial answer ({why}): {result.read_fraction:.0%} of the text was read.", False
    if result.invalid_steps:
        yield f"No usable reply on {count(result.invalid_steps, 'chunk')}; what stands there may be missing.", False
    for entry in result.manifest:
        yield from _unread(entry)
    yield _summary(result), True
    if result.model.notice:
        yield one_line(result.model.notice, 1000), True


def job_lines(job: Job) -> Iterator[str]:
    """A job's state."""
    yield f"{job.id}  {job.status.value.replace('_', ' ')}"
    yield f"question   {one_line(job.question, 200)}"
    yield f"created    {job.created_at:%Y-%m-%d %H:%M:%S %Z}".rstrip()
    progress = job.progress
    total = f" of {progress.chunks_total:,}" if progress.chunks_total is not None else ""
    read = f"{progress.chunks_read:,}{total} chunks, {progress.tokens_read:,} tokens, {progress.read_fraction:.0%}"
    yield f"read       {read}"
    if progress.plan:
        yield f"plan       {one_line(progress.plan, 200)}"
    if progress.eta_seconds is not None and not job.finished:
        yield f"remaining  about {duration(progress.eta_seconds)}"
    if job.error is not None:
        yield f"error      {one_line(job.error.detail or job.error.title, 500)} [{one_line(job.error.code, 80)}]"
    if job.result is not None:
        yield ""
        for line, _ in answer_lines(job.result):
            yield line


def step_lines(step: StepView, memory: bool) -> Iterator[str]:
    """One step as a table row, with the memory's lines that came (+) and went (-)."""
    change = f"+{len(step.diff.added)} -{len(step.diff.removed)}"
    span = f"{step.start}-{step.end}"
    reason = f"  {one_line(step.reason, 100)}" if step.reason else ""
    row = f"{step.chunk:>6}  {step.document + 1:>3}  {span:<21}  {step.tokens:>6}  {step.update:<7}  {change:<8}"
    yield f"{row}{reason}".rstrip()
    for sign, lines in (("-", step.diff.removed), ("+", step.diff.added)):
        for line in lines:
            yield f"          {sign} {one_line(line, 500)}"
    if memory and step.update == "rewrite":
        yield "          memory:"
        for line in clean(step.memory).splitlines():
            yield f"            {line}"


STEP_HEAD = f"{'chunk':>6}  {'doc':>3}  {'characters':<21}  {'tokens':>6}  {'kind':<7}  memory"


def _citation(number: int, citation: Citation) -> Iterator[tuple[str, bool]]:
    title = one_line(citation.title or citation.url or citation.document_id, 200)
    yield f"[{number}] {title}, {one_line(citation.locator, 100)}", False
    where = citation.link or citation.url
    if where and where != citation.title:
        yield f"    {one_line(where, 500)}", True
    yield f"    “{one_line(citation.quote, QUOTE_WIDTH)}”", False


def _unread(entry: ManifestEntry) -> Iterator[tuple[str, bool]]:
    """What was not read of one document."""
    number = entry.document + 1
    name = one_line(entry.title or entry.url or entry.document_id or "", 200)
    if entry.error is not None:
        why = DOCUMENT_PREFIX.sub("", entry.error.detail) or entry.error.title
        yield f"Document {number}, {name}, was skipped: {one_line(why, 500)}", False
    elif entry.status == "not_read":
        yield f"Document {number}, {name}, was not read.", False
    elif entry.status == "partly_read":
        share = entry.characters_read / max(1, entry.characters)
        yield f"Document {number}, {name}, was read to {share:.0%}.", False
    if entry.skipped_count:
        yield f"Document {number}, {name}, has {count(entry.skipped_count, 'part')} that could not be read:", True
        for part in entry.skipped[:MOST_PARTS]:
            yield f"    {one_line(part.path, 200)}: {one_line(part.message, 200)}", True
        if entry.skipped_count > MOST_PARTS:
            yield (
                f"    and {entry.skipped_count - MOST_PARTS:,} more (--json lists the first {len(entry.skipped)})",
                True,
            )


def _summary(result: AnswerResult) -> str:
    usage = result.usage
    tokens = usage.prompt_tokens + usage.completion_tokens
    parts = [
        f"{result.route.mode}: {one_line(result.route.reason, 300).rstrip('.')}",
        f"{count(tokens, 'token')} in {count(usage.calls, 'call')}",
        duration(result.timings.total),
        one_line(result.model.name, 100),
    ]
    return " · ".join(part for part in parts if part)

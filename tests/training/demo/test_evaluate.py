"""Evaluation: a policy that always knows scores 1.0 through the agent's own fold; torch and engine agree on what they
ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.training.demo.teaching import replies
from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_agent.profiles.choices import options_in, split_question
from longfold_agent.protocols import Request
from longfold_agent.types import Completion
from longfold_training.demo.documents import FAMILIES, SEVERAL, Document, generate, value_of
from longfold_training.demo.evaluate import Cell, Result, read_in_torch, read_with_engine, same
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape
from longfold_training.demo.reading import Reader


class Count:
    """`Tokens` over the small tokenizer."""

    name = "small"

    def __init__(self, count: Callable[[str], int]) -> None:
        self.count = count

    def fit(self, text: str, budget: int) -> int:
        return len(text)


class Oracle:
    """An engine that knows the documents' gold answers and replies as a perfect policy would."""

    def __init__(self, documents: Sequence[Document], *, blind: bool = False) -> None:
        self.replies: dict[str, str] = {}
        for document in documents:
            for item in document.items:
                query = split_question(item.question)
                seen = prompt.shown(query.core, "", "")
                for number, text in enumerate(map(prompt.shown_text, document.chunks)):
                    for said in [None] if blind else replies(item, number):
                        asked = prompt.render_read(seen.question, seen.memory, seen.plan, text)
                        self.replies[asked] = "<keep>"
                        if said is not None:
                            words = prompt.read_words(seen.question, seen.memory, text)
                            self.replies[asked] = prompt.render_update(words, *said).removesuffix("<eos>")
                            parsed = prompt.parse_update(words, self.replies[asked], seen.memory)
                            assert parsed is not None
                            seen = prompt.shown(query.core, seen.taken(parsed[0]), parsed[1])
                options = options_in(query.instructions)
                asked = prompt.render_answer(seen.question, options, seen.memory)
                known = prompt.UNKNOWN if blind else item.answer if item.family in SEVERAL else item.memories[-1]
                letter = item.answer if item.family == "choice" and not blind else ""
                words = prompt.answer_words(seen.question, options, seen.memory)
                self.replies[asked] = prompt.render_reply(words, known, letter).removesuffix("<eos>")

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        return [Completion(self.replies[request.prompt.text or ""], "stop") for request in requests]


def documents_of(count: Callable[[str], int]) -> list[Document]:
    families = FAMILIES + SEVERAL
    return [
        generate(Random(seed), chunks=3, count=count, chunk_tokens=192, per_family=1, families=families)
        for seed in range(3)
    ]


async def test_a_perfect_policy_scores_one(count: Callable[[str], int]) -> None:
    documents = documents_of(count)
    result = await read_with_engine(Oracle(documents), prompt.profile(), Count(count), documents)  # type: ignore[arg-type]
    report = result.report()
    assert [report[family] for family in FAMILIES + SEVERAL] == [1.0] * 6
    assert (result.false_writes, result.missed, result.wrong_writes, result.invalid) == (0, 0, 0, 0)
    assert result.active + result.idle == 3 * 6 * 3


async def test_a_blind_policy_misses_every_fact(count: Callable[[str], int]) -> None:
    documents = documents_of(count)
    result = await read_with_engine(Oracle(documents, blind=True), prompt.profile(), Count(count), documents)  # type: ignore[arg-type]
    assert result.missed == result.active > 0
    assert result.false_writes == 0
    assert not result.right


def test_an_untrained_policy_reads_to_the_end(count: Callable[[str], int], tokenizer: Tokenizer, shape: Shape) -> None:
    policy = Policy(shape)
    initialise(policy, 0)
    cell = Cell(chunks=2, chunk_tokens=128, documents=1, per_family=1)
    documents = cell.make(count)
    result = read_in_torch(Reader(policy, tokenizer), documents)
    assert sum(result.asked.values()) == 3
    assert result.idle + result.active == 6
    kept = read_in_torch(Reader(policy, tokenizer, keep_bias=1e6), documents)
    assert kept.false_writes == 0
    assert kept.missed == kept.active


def test_scoring_forgives_case_and_a_full_stop_only() -> None:
    assert same("Dark green.", " dark Green")
    assert not same("4821", "482")
    assert same("Ann Orr; Bernard Hale", "bernard hale; Ann Orr.")
    assert not same("Ann Orr", "Ann Orr; Bernard Hale")
    assert not same("Ann Orr; Ann Orr", "Ann Orr")
    assert value_of("access code of Norbel: AX-4821") == "AX-4821"
    assert Result(right={"single": 1}, asked={"single": 2}).report()["single"] == 0.5

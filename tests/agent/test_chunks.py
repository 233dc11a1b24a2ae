"""Chunks lose nothing, keep their budget and offsets, end at natural places, and depend on nothing but the text
ahead."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from longfold_agent.byte_level import GPT2_PATTERN
from longfold_agent.chunks import Texts, chunks, stream_chunks
from longfold_agent.protocols import Tokens
from longfold_agent.tokens import LoadedTokens, load_tokens
from longfold_agent.types import Chunk, Position

WORDS = [
    "the",
    "Fold",
    "memory",
    "naïve",
    "日本語",
    "。",
    "！」",
    "...",
    "12",
    "don't",
    "👩‍👩‍👧",
    "\U0001f1e9\U0001f1ea",
    "é",
    "e\u0301",
    "x" * 30,
]
GAPS = [
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\n\n",
    "\n \n",
    ". ",
    '." ',
    "",
    "\t",
    "\u3000",
    "\u00a0",
    "\u2028",
    "\u200b",
]
DOCUMENTS = st.lists(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=120).map(
            lambda pairs: "".join(word + gap for word, gap in pairs)
        ),
    ),
    max_size=4,
)


class Words:
    """A `Tokens` with nothing but the protocol: words and single blanks."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.count(text[:middle]) <= budget else (low, middle - 1)
        return low


class Pieces:
    """A source that hands its texts out in pieces of random sizes, and knows whether it was closed."""

    def __init__(self, texts: list[str], chance: random.Random, largest: int = 50) -> None:
        self._texts = texts
        self._chance = chance
        self._largest = largest
        self.open = 0

    @property
    def documents(self) -> int:
        return len(self._texts)

    def pieces(self, document: int, start: Position) -> Iterator[str]:
        text = self._texts[document]
        assert len(text[: start.char].encode("utf-8", "surrogatepass")) == start.byte
        self.open += 1
        try:
            at = start.char
            while at < len(text):
                size = self._chance.randint(0, self._largest)
                yield text[at : at + size]
                at += size
        finally:
            self.open -= 1


@pytest.fixture(scope="module", params=[r" ?\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+", GPT2_PATTERN], ids=["any", "known"])
def tokens(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedTokens:
    """Of a pattern that must be encoded chunk by chunk, and of one that lets a text be encoded once."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(request.param), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=350, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS * 3)], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return load_tokens(path)


def check(texts: list[str], found: list[Chunk], tokens: Tokens, budget: int) -> None:
    assert [chunk.index for chunk in found] == list(range(len(found)))
    for document, text in enumerate(texts):
        own = [chunk for chunk in found if chunk.start.document == document]
        assert "".join(chunk.text for chunk in own) == text
        at = Position(document)
        for chunk in own:
            assert chunk.start == at
            assert chunk.text == text[chunk.start.char : chunk.end.char] != ""
            size = len(text[: chunk.end.char].encode("utf-8", "surrogatepass"))
            assert (chunk.end.document, chunk.end.byte) == (document, size)
            assert chunk.tokens == tokens.count(chunk.text)
            assert chunk.tokens <= budget or len(chunk.text) == 1
            at = chunk.end


@given(texts=DOCUMENTS, budget=st.integers(1, 60), seed=st.integers())
@settings(max_examples=80)
def test_nothing_is_lost_and_cuts_depend_on_the_text_ahead_only(
    tokens: Tokens, texts: list[str], budget: int, seed: int
) -> None:
    for counting in (tokens, Words()):
        whole = list(chunks(Texts(texts), counting, budget))
        check(texts, whole, counting, budget)
        source = Pieces(texts, random.Random(seed))
        assert list(chunks(source, counting, budget)) == whole
        assert source.open == 0
        for number, chunk in enumerate(whole):
            again = chunks(Pieces(texts, random.Random(seed + number)), counting, budget, chunk.end, number + 1)
            assert list(again) == whole[number + 1 :]


@given(texts=DOCUMENTS, budget=st.integers(1, 60), block=st.integers(1, 40))
@settings(max_examples=80)
def test_how_much_is_encoded_at_a_time_moves_no_cut(
    tokens: LoadedTokens, texts: list[str], budget: int, block: int
) -> None:
    whole = list(chunks(Texts(texts), tokens, budget))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["longfold_agent.chunks"], "BLOCK", block)  # the package has a function of that name
        assert list(chunks(Texts(texts), tokens, budget)) == whole


@given(text=st.lists(st.sampled_from([*WORDS, " ", "\n", ". "]), min_size=150, max_size=300).map("".join))
@settings(max_examples=40)
def test_what_stands_before_and_after_a_chunk_does_not_move_its_end(tokens: Tokens, text: str) -> None:
    found = list(chunks(Texts([text]), tokens, 40))
    for chunk in found[:-1]:
        alone = next(chunks(Texts([text[chunk.start.char :]]), tokens, 40))
        assert alone.text == chunk.text


@pytest.mark.parametrize(
    ("unit", "ends"),
    [
        ("word word word.\nword word word word\n\n", ("\n\n",)),
        ("word word, word word. Word word\n", ("\n",)),
        ("word word word, word word word\r\n", ("\r\n",)),
        ('Some words here. "More words there." And so on! ', (". ", '." ', "! ")),
        ("日本語の文章です。「引用です。」次の文！", ("。", "。」", "！")),
        ("word, word word word ", (" ",)),
    ],
)
def test_chunks_end_at_the_best_place_within_reach(tokens: Tokens, unit: str, ends: tuple[str, ...]) -> None:
    found = list(chunks(Texts([unit * 200]), tokens, 400))
    assert len(found) > 3
    assert all(chunk.text.endswith(ends) for chunk in found[:-1])
    assert all(chunk.tokens >= 400 * 0.75 for chunk in found[:-1])


def test_combined_characters_and_line_ends_stay_whole(tokens: Tokens) -> None:
    for unit in (
        "e\u0301\u0302",
        "\U0001f1e9\U0001f1ea",
        "\U0001f44d\U0001f3fd",
        "👩\u200d👩\u200d👧",
        "\r\n",
        "\u1100\u1161\u11a8",
    ):
        found = list(chunks(Texts([unit * 300]), tokens, 50))
        assert len(found) > 1
        assert all(len(chunk.text) % len(unit) == 0 for chunk in found), unit


def test_empty_documents_give_no_chunk_and_blank_ones_do(tokens: Tokens) -> None:
    found = list(chunks(Texts(["", "a", "", " \n", ""]), tokens, 10, first_index=5))
    assert [(chunk.index, chunk.start.document, chunk.text) for chunk in found] == [(5, 1, "a"), (6, 3, " \n")]
    assert list(chunks(Texts([]), tokens, 10)) == []
    assert list(chunks(Texts(["abc"]), tokens, 10, Position(0, 3, 3))) == []
    assert list(chunks(Texts(["abc"]), tokens, 10, Position(7))) == []


@pytest.mark.parametrize("unit", ["a", " ", "日"])
def test_one_enormous_word_works(tokens: Tokens, unit: str) -> None:
    text = unit * (600_000 // len(unit))
    found = list(chunks(Texts([text]), tokens, 4000))
    assert "".join(chunk.text for chunk in found) == text
    assert all(chunk.tokens <= 4000 for chunk in found)


def test_a_character_larger_than_the_budget_makes_progress(tokens: Tokens) -> None:
    found = list(chunks(Texts(["\U0001f9ff" * 3]), tokens, 1))
    assert [chunk.text for chunk in found] == ["\U0001f9ff"] * 3
    assert all(chunk.tokens > 1 for chunk in found)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_below_one_is_refused_at_once(tokens: Tokens, budget: int) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        chunks(Texts(["a"]), tokens, budget)


def test_a_source_is_closed_when_reading_stops_early(tokens: Tokens) -> None:
    source = Pieces(["word " * 20_000], random.Random(1))
    reading = chunks(source, tokens, 20)
    next(reading)
    assert source.open == 1
    reading.close()
    assert source.open == 0


def test_only_what_is_needed_is_read_ahead(tokens: Tokens) -> None:
    taken = 0

    class Endless:
        documents = 1

        def pieces(self, document: int, start: Position) -> Iterator[str]:
            nonlocal taken
            while True:
                taken += 1000
                yield "some words" * 100

    reading = chunks(Endless(), tokens, 100)
    for _ in range(50):
        next(reading)
    assert taken < 60_000
    reading.close()


async def test_streaming_gives_the_same_chunks_outside_the_loops_thread(tokens: Tokens) -> None:
    threads = set()

    class Watched(Texts):
        def pieces(self, document: int, start: Position) -> Iterator[str]:
            threads.add(threading.get_ident())
            return super().pieces(document, start)

    texts = ["one two three. " * 50, "", "日本語。" * 40]
    found = [chunk async for chunk in stream_chunks(Watched(texts), tokens, 30)]
    assert found == list(chunks(Texts(texts), tokens, 30))
    assert threading.get_ident() not in threads


async def test_a_cancelled_stream_closes_its_source(tokens: Tokens) -> None:
    entered, leave, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        documents = 1

        def pieces(self, document: int, start: Position) -> Iterator[str]:
            try:
                entered.set()
                leave.wait(10)
                yield "text"
            finally:
                closed.set()

    async def read() -> list[Chunk]:
        return [chunk async for chunk in stream_chunks(Slow(), tokens, 30)]

    task = asyncio.create_task(read())
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not closed.is_set()
    leave.set()
    while not closed.is_set():
        await asyncio.sleep(0.001)


def test_files_can_be_sources(tokens: Tokens, tmp_path: Path) -> None:
    text = "Zeile für Zeile, 日本語。\n" * 500
    path = tmp_path / "text"
    path.write_text(text, encoding="utf-8", newline="")

    class File:
        documents = 1

        def pieces(self, document: int, start: Position) -> Iterator[str]:
            with path.open(encoding="utf-8", newline="") as file:
                file.seek(start.byte)
                while piece := file.read(777):
                    yield piece

    found = list(chunks(File(), tokens, 100))
    check([text], found, tokens, 100)
    middle = found[len(found) // 2]
    assert list(chunks(File(), tokens, 100, middle.end, middle.index + 1)) == found[middle.index + 1 :]

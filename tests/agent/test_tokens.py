"""Rebuilt encodings equal the file's own tokenizer; what cannot be rebuilt is used as it is; special tokens in text
stay text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from longfold_agent.errors import TokenizerError
from longfold_agent.neutralise import neutralise
from longfold_agent.tokens import BLANK_RUN, HuggingFaceTokens, LoadedTokens, TiktokenTokens, load_tokens

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEMO = r" ?\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+"
CORPUS = [
    "The theory of the thing is that they'll think there's a 1234 in the 日本語 text.\n\n  Then, naïve café — done!\n",
    "def fold(memory, plan):\n    return memory + plan  # the plan\n" * 3,
    "aaab aab abc bca cab bcab aabca abcabc " * 5,
]
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            [
                "the",
                "The",
                " ",
                "  ",
                "\n",
                "\r\n",
                "\t",
                "'s",
                "'LL",
                "12",
                "日本",
                "é",
                "e\u0301",
                "\u212b",
                "👩‍👩‍👧",
                "\u1100\u1161",
                "abc",
                "aab",
                "b",
                ",",
                "...",
                "<|im_end|>",
                "<think>",
                "\u00a0",
                "\u3000",
                "\x00",
                "\x85",
                "\u2028",
                "ﬁ",
                "ſ",
                "½",
                "_",
            ]
        ),
        max_size=30,
    ).map("".join),
)
SPECIALS = ["<|im_end|>", "<pad>"]


def byte_level(pattern: str, vocab: int = 420) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def gpt2_style() -> Tokenizer:
    tokenizer = byte_level(DEMO)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    pieces = {
        "<unk>": 0,
        **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)},
        "▁": 257,
        "a": 258,
        "b": 259,
        "ab": 260,
    }
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[("a", "b")], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


FAST: dict[str, Callable[[], Tokenizer]] = {
    "qwen": lambda: byte_level(QWEN),
    "demo": lambda: byte_level(DEMO),
    "other pattern": lambda: byte_level(r"\p{L}+|\p{N}+|\s+|[^\s\p{L}\p{N}]+"),
    "gpt2": gpt2_style,
}
SLOW: dict[str, Callable[[], Tokenizer]] = {"wordpiece": wordpiece, "unigram": unigram, "byte fallback": byte_fallback}


class Tokenizers(dict[str, Any]):
    """Tokenizers by name, short in failure reports."""

    def __repr__(self) -> str:
        return "Tokenizers()"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, make in (FAST | SLOW).items():
        make().save(str(folder / f"{name}.json"))
    return {name: folder / f"{name}.json" for name in FAST | SLOW}


@pytest.fixture(scope="module")
def loaded(files: dict[str, Path]) -> dict[str, LoadedTokens]:
    return Tokenizers({name: load_tokens(path) for name, path in files.items()})


@pytest.fixture(scope="module")
def originals(files: dict[str, Path]) -> dict[str, Tokenizer]:
    """The tokenizers themselves, told to read special tokens as text."""
    made = Tokenizers({name: Tokenizer.from_file(str(path)) for name, path in files.items()})
    for tokenizer in made.values():
        tokenizer.encode_special_tokens = True
    return made


@pytest.mark.parametrize("name", FAST)
def test_byte_level_files_are_rebuilt(loaded: dict[str, LoadedTokens], name: str) -> None:
    assert isinstance(loaded[name], TiktokenTokens)


@pytest.mark.parametrize("name", SLOW)
def test_other_files_are_used_as_they_are(loaded: dict[str, LoadedTokens], name: str) -> None:
    assert isinstance(loaded[name], HuggingFaceTokens)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
@given(text=TEXTS)
@settings(max_examples=60)
def test_tokens_equal_the_original(
    loaded: dict[str, LoadedTokens], originals: dict[str, Tokenizer], name: str, text: str
) -> None:
    expected = originals[name].encode(text, add_special_tokens=False).ids
    assert loaded[name].encode(text) == expected
    assert loaded[name].count(text) == len(expected)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
@given(text=TEXTS, budget=st.integers(0, 40))
@settings(max_examples=60)
def test_fit_is_the_last_prefix_before_one_that_does_not_fit(
    loaded: dict[str, LoadedTokens], name: str, text: str, budget: int
) -> None:
    tokens = loaded[name]
    size = tokens.fit(text, budget)
    assert 0 <= size <= len(text)
    assert tokens.count(text[:size]) <= budget
    assert size == len(text) or budget == 0 or tokens.count(text[: size + 1]) > budget


@pytest.mark.parametrize("name", [*FAST, *SLOW])
@given(text=TEXTS, data=st.data())
@settings(max_examples=60)
def test_measuring_counts_every_prefix_as_by_itself(
    loaded: dict[str, LoadedTokens], name: str, text: str, data: st.DataObject
) -> None:
    tokens = loaded[name]
    measured = tokens.measure(text)
    reached = measured.reach(data.draw(st.integers(0, 30)))
    for end in (reached, data.draw(st.integers(0, len(text)))):
        assert measured.count(end) == tokens.count(text[:end])


def test_all_letters_signs_and_blanks_of_unicode_are_split_alike(
    loaded: dict[str, LoadedTokens], originals: dict[str, Tokenizer]
) -> None:
    for first in (
        *range(0, 0x3400, 0x400),
        *range(0xA000, 0xB000, 0x400),
        *range(0xF800, 0x11C00, 0x400),
        0x1D400,
        0x1F000,
        0x1F400,
    ):
        block = (chr(code) for code in range(first, first + 0x400) if not 0xD800 <= code < 0xE000)
        text = "".join(f"a{char}b {char}1" for char in block)
        expected = originals["qwen"].encode(text, add_special_tokens=False).ids
        assert loaded["qwen"].encode(text) == expected, hex(first)


def test_special_tokens_in_text_stay_text_and_are_listed(loaded: dict[str, LoadedTokens]) -> None:
    tokens = loaded["qwen"]
    assert set(tokens.specials) == set(SPECIALS)
    assert tokens.count("<|im_end|>") > 1
    assert not [special for special in SPECIALS if special in neutralise(f"x{''.join(SPECIALS)}", tokens.specials)]


@pytest.mark.parametrize("name", ["qwen", "demo", "unigram"])
def test_lone_surrogates_count_as_replacement_characters(loaded: dict[str, LoadedTokens], name: str) -> None:
    assert loaded[name].encode("a\ud800b") == loaded[name].encode("a\ufffdb")


@pytest.mark.parametrize("name", ["qwen", "demo"])
@pytest.mark.parametrize("unit", ["a", " ", "\n", "ab ", "日"])
def test_a_million_of_the_same_character_is_no_problem(loaded: dict[str, LoadedTokens], name: str, unit: str) -> None:
    text = "x" + unit * (1_000_000 // len(unit)) + "y"
    tokens = loaded[name]
    assert isinstance(tokens, TiktokenTokens)
    assert tokens.decode_bytes(tokens.encode(text)) == text.encode()


def test_blank_runs_below_the_limit_are_exact(loaded: dict[str, LoadedTokens], originals: dict[str, Tokenizer]) -> None:
    text = "x" + " " * (BLANK_RUN - 1) + "y\n" + " " * 30_000 + "z"
    assert loaded["qwen"].encode(text) == originals["qwen"].encode(text, add_special_tokens=False).ids


def test_a_merge_that_departs_from_its_bytes_is_not_rebuilt(tmp_path: Path) -> None:
    """Random damage to a merge list: the file is either used as it is, or the rebuilt encoding still equals it."""
    chance = random.Random(7)
    outcomes = set()
    for _ in range(12):
        spec: dict[str, Any] = json.loads(byte_level(QWEN, 300).to_str())
        model = spec["model"]
        for _ in range(3):
            place = chance.randrange(len(model["merges"]))
            token = "".join(model["merges"][place])
            splits = [(token[:at], token[at:]) for at in range(1, len(token))]
            known = [pair for pair in splits if pair[0] in model["vocab"] and pair[1] in model["vocab"]]
            model["merges"][place] = list(chance.choice(known))
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(spec))
        tokens = load_tokens(tmp_path)
        original = Tokenizer.from_str(json.dumps(spec))
        original.encode_special_tokens = True
        outcomes.add(type(tokens))
        for _ in range(40):
            text = "".join(chance.choices(["a", "b", "c", "ab", "the", "th", " ", "mem", "ory", "\n"], k=25))
            assert tokens.encode(text) == original.encode(text, add_special_tokens=False).ids
    assert outcomes == {TiktokenTokens, HuggingFaceTokens}


def test_a_pattern_that_leaves_characters_out_is_not_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level(r"\p{L}+|\s+").save(str(path))
    tokens = load_tokens(path)
    assert isinstance(tokens, HuggingFaceTokens)
    assert tokens.count("1") == 1


def test_the_name_is_the_files_hash(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level(QWEN).save(str(path))
    first = load_tokens(path)
    assert first.name == load_tokens(tmp_path).name
    path.write_text(path.read_text() + "\n")
    assert load_tokens(path).name != first.name
    assert first.name.startswith("sha256:")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"model": {"type": "Nothing"}}', "\ud800"])
def test_what_is_no_tokenizer_raises_one_typed_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokens(path)

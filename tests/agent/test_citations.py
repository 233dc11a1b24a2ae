"""Quotes are exact, stand where they say, and hold what the answer says; without support there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import Citation, Provenance, Query, Source, cite, cite_direct
from longfold_agent.provenance import Line
from longfold_agent.sentences import sentences

PROSE = (
    "The harbour lay quiet under the moon. Nobody had seen the keeper since noon.\n\n"
    "The access code of the north vault is 4711. Mr. Hale wrote it on the wall, at 9.30 p.m. that day.\n\n"
    "In spring 4711 gulls nested on the roof. The access code of the south vault is 0815.\n\n"
    "Some weeks later the access code of the north vault was changed to 2260. The keeper came back in May."
)


def held(text: str, *lines: str, origin: Source | None = None) -> Provenance:
    return Provenance(tuple(Line(line, Source(3, 1, 1000, 1000 + len(text)), origin) for line in lines))


def quotes(answer: str, *lines: str, text: str = PROSE, query: Query | None = None) -> list[str]:
    return [citation.quote for citation in cite(answer, held(text, *lines), lambda _: text, query)]


def test_the_sentence_with_the_value_and_the_topic_is_quoted() -> None:
    [citation] = cite("4711", held(PROSE, "access code of north vault: 4711"), lambda _: PROSE)
    at = PROSE.index("The access code of the north vault is 4711.")
    assert citation == Citation(1, 1000 + at, 1000 + at + 43, "The access code of the north vault is 4711.", 3)


def test_only_the_lines_that_support_the_answer_are_cited() -> None:
    lines = ("the keeper was away since noon", "access code of the south vault: 0815", "gulls on the roof")
    assert quotes("The code is 0815.", *lines) == ["The access code of the south vault is 0815."]


def test_of_repeated_statements_the_last_is_quoted_for_an_update() -> None:
    text = "The toll is 5 crowns. Rain fell. The toll is 5 crowns. Wind came. The toll is 5 crowns. Night."
    source = Source(0, 0, 0, len(text))
    edited = Provenance((Line("toll: 5 crowns", source, Source(0, 0, 0, 5)),))
    [citation] = cite("5 crowns", edited, lambda _: text)
    assert citation.start == text.rindex("The toll")


def test_a_letter_is_cited_by_its_option() -> None:
    query = Query("What is the code of the north vault?", "A) 0815 B) 2260 C) 1234")
    for answer in ("B", "(b)", "**B.**", "The answer is B", "B) 2260"):
        found = quotes(answer, "code of north vault: 2260", "code of south vault: 0815", query=query)
        assert found == ["Some weeks later the access code of the north vault was changed to 2260."]


def test_a_yes_is_cited_by_the_few_lines_there_are() -> None:
    assert quotes("Yes", "the keeper came back in May") == ["The keeper came back in May."]


@pytest.mark.parametrize("answer", ["Jean-Luc van Hale; tea", "- tea\n- Jean-Luc van Hale", "2"])
def test_each_thing_that_is_listed_is_cited_where_it_stands(answer: str) -> None:
    texts = ("The ship carries Jean-Luc van Hale. Rain fell.", "Wind came. The ship carries tea.")
    sources = [Source(number, 0, 100 * number, 100 * number + len(text)) for number, text in enumerate(texts)]
    memory = ("carried by the ship: Jean-Luc van Hale", "carried by the ship: tea")
    provenance = Provenance(tuple(map(Line, memory, sources)))
    found = cite(answer, provenance, lambda source: texts[source.chunk], Query("What is carried by the ship?"))
    assert {one.quote for one in found} == {"The ship carries Jean-Luc van Hale.", "The ship carries tea."}


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("9999", "access code of the vault: 9999"),
        ("Paris", "the capital is Paris"),
        ("4711", "price of the yellow submarine: 4711 doubloons exactly, said Ringo"),
        ("Yes", "the emperor abdicated without reading any treaty"),
        ("The access code of the north vault is 9999.", "access code of the north vault: 9999"),
        ("The keeper came back in June.", "the keeper came back in June"),
        ("", "..."),
    ],
)
def test_without_support_there_is_no_citation(answer: str, line: str) -> None:
    assert quotes(answer, line) == []


def test_a_value_in_the_sentence_after_its_topic_is_quoted() -> None:
    text = "The tower of Elm Street was measured again. It is 84 metres high. The church has 84 steps."
    assert quotes("84 metres", "tower of Elm Street: 84 metres", text=text) == ["It is 84 metres high."]


def test_the_origin_is_searched_when_the_latest_chunk_has_nothing() -> None:
    texts = {0: "Ann Marlow signed the lease in 1931.", 5: "Nothing to see here."}
    line = Line("Ann Marlow signed the lease (1931)", Source(5, 0, 500, 520), Source(0, 0, 0, 36))
    [citation] = cite("1931", Provenance((line,)), lambda source: texts[source.chunk])
    assert (citation.chunk, citation.start, citation.quote) == (0, 0, texts[0])


def test_a_value_is_found_across_writings() -> None:
    assert quotes("12000", "revenue: 12000", text="Revenue rose to 12,000 crowns.") == [
        "Revenue rose to 12,000 crowns."
    ]
    assert quotes("北京", "首都：北京", text="他在上海。首都是北京。天气好。") == ["首都是北京。"]


def test_a_source_is_loaded_once_and_quotes_are_not_repeated() -> None:
    loads = []
    lines = ("code of north vault: 4711", "north vault has code 4711")
    found = cite("4711", held(PROSE, *lines), lambda source: loads.append(source) or PROSE)  # type: ignore[func-returns-value]
    assert len(loads) == 1 and len(found) == 1


def test_the_number_of_citations_is_bounded() -> None:
    text = " ".join(f"Guest number {i} came from Oslo." for i in range(40))
    lines = [f"guest {i} from Oslo" for i in range(40)]
    assert 1 <= len(quotes("Oslo", *lines, text=text)) <= 8


def test_direct_answers_are_cited_from_the_documents() -> None:
    other = "A letter about tea. The vault was painted green in 2260 strokes."
    sources = [Source(0, 0, 0, len(other)), Source(0, 1, 0, len(PROSE))]
    query = Query("What was the access code of the north vault changed to?")
    found = cite_direct("2260", sources, lambda source: (other, PROSE)[source.document], query)
    assert found[0].document == 1 and found[0].quote.endswith("changed to 2260.")
    assert cite_direct("9999", sources, lambda source: (other, PROSE)[source.document], query) == ()


words = st.lists(
    st.sampled_from(["Ann", "Bob", "code", "4711", "7", "vault", ".", "!", "\n", "。", "Mr.", "首都", "the"])
    | st.text(max_size=4),
    max_size=40,
)


@given(words.map(" ".join), st.lists(words.map(" ".join), max_size=5), words.map(" ".join))
def test_every_quote_is_the_text_at_its_place(text: str, lines: list[str], answer: str) -> None:
    first = cite(answer, held(text, *lines), lambda _: text)
    for citation in first:
        assert text[citation.start - 1000 : citation.end - 1000] == citation.quote != ""
    assert first == cite(answer, held(text, *lines), lambda _: text)


def test_sentences_of_prose() -> None:
    found = [PROSE[start:end] for start, end in sentences(PROSE)]
    assert found[2] == "The access code of the north vault is 4711."
    assert found[3] == "Mr. Hale wrote it on the wall, at 9.30 p.m. that day." and len(found) == 8
    prose = "A sentence that is wrapped at the end of a longer\nline goes on here."
    lines = ["Short line", "Another", "- item one", "- item two"]
    wrapped = "\n".join([prose, *lines])
    assert [wrapped[start:end] for start, end in sentences(wrapped)] == [prose, *lines]


@given(st.text(alphabet=st.sampled_from('ab .!?\n。”"M r'), max_size=300) | st.text(), st.integers(4, 50))
def test_sentences_cover_everything_but_whitespace(text: str, longest: int) -> None:
    at = 0
    for start, end in sentences(text, longest):
        assert at <= start < end <= start + longest
        assert not text[at:start].strip() and text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()

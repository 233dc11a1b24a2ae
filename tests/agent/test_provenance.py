"""Every line of the memory knows the chunk it came with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import CallKind, Chunk, Position, Provenance, ResumeRefused, Source, Step, UpdateKind
from longfold_agent.provenance import units


def chunk(index: int) -> Chunk:
    return Chunk(
        index, Position(0, 100 * index, 100 * index), Position(0, 100 * index + 100, 100 * index + 100), "x", 1
    )


def source(index: int) -> Source:
    return Source(index, 0, 100 * index, 100 * index + 100)


def step(index: int, memory: str, kind: UpdateKind = UpdateKind.REWRITE) -> Step:
    return Step(f"read/{index}", CallKind.READ, kind, index, memory, "")


def after(*memories: str) -> Provenance:
    provenance = Provenance()
    for index, memory in enumerate(memories):
        provenance = provenance.observe(step(index, memory), chunk(index))
    return provenance


def places(provenance: Provenance) -> list[tuple[str, int, int | None]]:
    return [(line.text, line.source.chunk, line.origin.chunk if line.origin else None) for line in provenance.lines]


def test_new_lines_take_the_chunk_and_old_ones_keep_theirs() -> None:
    found = after(
        "Ann owns a boat", "Ann owns a boat\nBob was in town", "Ann owns a boat\nBob was in town\nFog at dawn"
    )
    assert places(found) == [("Ann owns a boat", 0, None), ("Bob was in town", 1, None), ("Fog at dawn", 2, None)]
    assert found.lines[1].source == source(1)


def test_moved_lines_keep_theirs_and_lost_ones_leave() -> None:
    found = after("first fact\nsecond thing", "zebra crossing\nsecond thing\nfirst fact", "first fact\nzebra crossing")
    assert places(found) == [("first fact", 0, None), ("zebra crossing", 1, None)]


def test_an_edited_line_takes_the_chunk_and_remembers_its_origin() -> None:
    found = after("access code of the vault: 1234", "other", "other\naccess code of the harbour: 77")
    assert places(found)[1][2] is None
    found = after(
        "access code of the vault: 1234", "access code of the vault: 9876", "the access code of the vault: 9876!"
    )
    assert places(found) == [("the access code of the vault: 9876!", 2, 0)]


def test_an_edit_inside_the_only_word_is_an_edit() -> None:
    assert places(after("count=15", "count=16")) == [("count=16", 1, 0)]


def test_unlike_lines_are_new() -> None:
    assert places(after("the ship sank in May", "who paid the crew is unknown")) == [
        ("who paid the crew is unknown", 1, None)
    ]


def test_equal_lines_are_told_apart_by_number() -> None:
    assert places(after("same", "same\nsame")) == [("same", 0, None), ("same", 1, None)]


def test_an_edited_line_uses_up_its_origin() -> None:
    found = after("code of A: 1111", "code of A: 2222\ncode of A: 3333")
    assert sorted(line.origin is None for line in found.lines) == [False, True]


@pytest.mark.parametrize("kind", [UpdateKind.KEEP, UpdateKind.INVALID])
def test_other_steps_change_nothing(kind: UpdateKind) -> None:
    found = after("a fact")
    assert found.observe(step(7, "a fact", kind), chunk(7)) is found


def test_a_step_of_another_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="read/3"):
        Provenance().observe(step(3, "a"), chunk(4))


def test_a_paragraph_is_followed_by_sentence() -> None:
    first = " ".join(f"Sentence number {i} tells about matter {i * 7} in some words." for i in range(12))
    found = after(first, f"{first} Bob confessed at noon.")
    assert [line.source.chunk for line in found.lines] == [0] * 12 + [1]


memory = st.lists(
    st.sampled_from(["a b", "a b c", "code: 12", "code: 13", "", "  pad ", "長い文", "x" * 50]) | st.text(max_size=12)
).map("\n".join)


@given(st.lists(memory, max_size=6))
def test_one_entry_a_line_and_a_round_trip(memories: list[str]) -> None:
    found = after(*memories)
    assert [line.text for line in found.lines] == (list(units(memories[-1])) if memories else [])
    assert Provenance.from_json(found.to_json()) == found and found.to_json().isascii()
    for line in found.lines:
        assert line.text in list(units(memories[line.source.chunk]))
        assert line.origin is None or line.origin.chunk < line.source.chunk


@given(st.text(max_size=30) | st.sampled_from(
    ["{}", "[]", '{"sources":[],"lines":[["a",0,-1]]}',
     '{"sources":[[0,0,0]],"lines":[]}', '{"sources":[[0,0,0,1]],"lines":[[1,0,-1]]}',
     '{"sources":[[0,0,0,1]],"lines":[["a",-1,-1]]}', '{"sources":[[0,0,0,true]],"lines":[]}', "[" * 50_000]
))  # fmt: skip
def test_anything_else_is_refused(saved: str) -> None:
    with pytest.raises(ResumeRefused):
        Provenance.from_json(saved)


def test_a_full_rewrite_of_a_large_memory_stays_bounded() -> None:
    def lines(version: int) -> str:
        return "\n".join(
            f"fact {i} about person{i * 31 % 97} says value {i * version} in place {i % 13}" for i in range(300)
        )

    found = after(lines(1), lines(2), lines(3))
    assert len(found.lines) == 300
    assert sum(line.origin is not None for line in found.lines) > 200

"""The fold under random replies, duplicates, stale ids, crashes and cuts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import (
    Answer,
    CallKind,
    EndOfText,
    FinalText,
    Fold,
    InvalidReply,
    Phase,
    Query,
    Reply,
    ResumeRefused,
    Step,
    Stop,
    Update,
    UpdateKind,
)
from longfold_agent.fold import REREADS

RESUME: dict[str, Any] = {"profile": "p-1", "tokens": "t-1", "chunk_budget": 100}
text = st.text(max_size=30)
updates = st.one_of(
    st.builds(Update, st.just(UpdateKind.REWRITE), text, text, again=st.booleans()),
    st.builds(Update, st.just(UpdateKind.KEEP)),
    st.builds(Update, st.just(UpdateKind.INVALID), text, text, text),
)


def begin(retries: int = 1) -> Fold:
    return Fold.start(Query("who?", "as JSON"), profile="p-1", tokens="t-1", chunk_budget=100, retries=retries)


def rewrite(memory: str, plan: str = "") -> Update:
    return Update(UpdateKind.REWRITE, memory, plan)


INVALID = Update(UpdateKind.INVALID, reason="no memory tag")
KEEP = Update(UpdateKind.KEEP)


@dataclass
class Run:
    """The replies of a run in order, so that another run can be given the same ones."""

    replies: list[Update]
    chunks: int
    answer: str = "42"
    taken: dict[str, Reply] = field(default_factory=dict)

    def reply(self, call_id: str, chunk: int | None) -> Reply:
        if chunk is None:
            return FinalText(self.answer)
        if chunk >= self.chunks:
            return EndOfText()
        if call_id not in self.taken:
            self.taken[call_id] = self.replies[len(self.taken) % len(self.replies)] if self.replies else KEEP
        return self.taken[call_id]


def drive(fold: Fold, run: Run) -> tuple[Fold, list[Step]]:
    steps = []
    while not fold.done:
        [call] = fold.pending()
        fold, step = fold.advance(call.id, run.reply(call.id, call.chunk))
        assert step is not None
        steps.append(step)
    return fold, steps


def test_reads_in_order_then_answers_with_the_instructions() -> None:
    fold = begin()
    [call] = fold.pending()
    assert (call.id, call.kind, call.chunk, call.question, call.instructions) == (
        "read/0",
        CallKind.READ,
        0,
        "who?",
        "",
    )
    fold, step = fold.advance("read/0", rewrite("Ann did it", "look for why"))
    assert step == Step("read/0", CallKind.READ, UpdateKind.REWRITE, 0, "Ann did it", "look for why")
    [call] = fold.pending()
    assert (call.id, call.memory, call.plan) == ("read/1", "Ann did it", "look for why")
    fold, step = fold.advance("read/1", EndOfText())
    assert step == Step("read/1", CallKind.READ, None, None, "Ann did it", "look for why")
    [call] = fold.pending()
    assert (call.id, call.kind, call.chunk, call.instructions) == ("answer", CallKind.ANSWER, None, "as JSON")
    fold, step = fold.advance("answer", FinalText('{"who": "Ann"}'))
    assert fold.answer == Answer('{"who": "Ann"}') and not fold.answer.partial
    assert fold.pending() == () and fold.done and fold.chunks_read == 1


def test_keep_leaves_memory_and_plan_byte_identical() -> None:
    fold, _ = begin().advance("read/0", rewrite("a\n b ", "p"))
    after, step = fold.advance("read/1", KEEP)
    assert (after.memory, after.plan, after.next_chunk) == ("a\n b ", "p", 2)
    assert step is not None and step.update is UpdateKind.KEEP


def test_invalid_is_asked_again_within_the_budget_and_then_given_up() -> None:
    fold, _ = begin(retries=2).advance("read/0", rewrite("kept"))
    ids = []
    for _ in range(3):
        [call] = fold.pending()
        ids.append((call.id, call.attempt))
        fold, step = fold.advance(call.id, INVALID)
        assert step is not None and (step.update, step.reason, step.memory) == (
            UpdateKind.INVALID,
            INVALID.reason,
            "kept",
        )
    assert ids == [("read/1", 0), ("read/1/a1", 1), ("read/1/a2", 2)]
    assert (fold.memory, fold.next_chunk, fold.invalid, fold.attempt) == ("kept", 2, 1, 0)
    assert fold.pending()[0].id == "read/2"


def test_a_chunk_is_read_again_when_the_plan_has_another_aim() -> None:
    fold, ids = begin(), []
    for reply in (rewrite("a", "find b"), INVALID, *(rewrite(f"b{n}", f"find c{n}") for n in range(REREADS))):
        [call] = fold.pending()
        ids.append(call.id)
        fold, step = fold.advance(call.id, replace(reply, again=reply is not INVALID))
        assert step is not None and step.chunk == 0
        assert fold == Fold.from_json(fold.to_json(), **RESUME)
    assert ids == ["read/0", "read/0/r1", "read/0/r1/a1", *(f"read/0/r{n}" for n in range(2, REREADS + 1))]
    assert (fold.memory, fold.next_chunk, fold.pending()[0].id) == (f"b{REREADS - 1}", 1, "read/1")
    assert begin().advance("read/0", replace(rewrite("a"), again=True))[0].cut(Stop.DEADLINE).rereads == 0


def test_a_good_retry_counts_no_invalid_step() -> None:
    fold, _ = begin().advance("read/0", INVALID)
    fold, _ = fold.advance("read/0/a1", rewrite("found"))
    assert (fold.memory, fold.invalid, fold.pending()[0].id) == ("found", 0, "read/1")


@pytest.mark.parametrize("empty", ["", " ", "\n\t\u3000"])
def test_an_empty_memory_is_never_accepted(empty: str) -> None:
    fold, _ = begin(retries=0).advance("read/0", rewrite("kept"))
    after, step = fold.advance("read/1", rewrite(empty, "plan"))
    assert after.memory == "kept" and after.plan == "" and after.invalid == 1
    assert step is not None and (step.update, step.reason) == (UpdateKind.INVALID, "empty memory")


def test_an_unusable_answer_is_asked_again_and_then_raises_without_changing_anything() -> None:
    fold, _ = begin(retries=1).advance("read/0", EndOfText())
    fold, step = fold.advance("answer", INVALID)
    assert step is not None and step.update is UpdateKind.INVALID
    assert [call.id for call in fold.pending()] == ["answer/a1"]
    with pytest.raises(InvalidReply, match="2 attempts"):
        fold.advance("answer/a1", INVALID)
    assert fold.advance("answer/a1", FinalText("yes"))[0].answer == Answer("yes")


@pytest.mark.parametrize(("at", "reply"), [("read/0", FinalText("x")), ("answer", EndOfText()), ("answer", KEEP)])
def test_a_reply_of_the_wrong_kind_is_a_mistake_of_the_driver(at: str, reply: Reply) -> None:
    fold = begin() if at == "read/0" else begin().cut(Stop.DEADLINE)
    with pytest.raises(TypeError, match=at):
        fold.advance(at, reply)


@pytest.mark.parametrize("why", Stop)
def test_cut_leads_to_a_partial_answer_from_what_is_committed(why: Stop) -> None:
    fold, _ = begin().advance("read/0", rewrite("so far"))
    fold, _ = fold.advance("read/1", INVALID)
    cut = fold.cut(why)
    [call] = cut.pending()
    assert (call.id, call.memory, call.instructions, call.attempt) == ("answer", "so far", "as JSON", 0)
    assert cut.advance("read/1/a1", rewrite("too late")) == (cut, None)
    done, _ = cut.advance("answer", FinalText("maybe"))
    assert done.answer == Answer("maybe", why) and done.answer.partial
    assert done.cut(why) is done


def test_an_answer_that_breaks_off_is_partial_and_stays_so() -> None:
    fold, _ = begin().advance("read/0", EndOfText())
    done, _ = fold.advance("answer", FinalText("clause 3: the ten", cut=True))
    assert done.answer == Answer("clause 3: the ten", Stop.OUTPUT) and done.answer.partial
    assert Fold.from_json(done.to_json(), **RESUME).answer == done.answer
    late, _ = begin().cut(Stop.DEADLINE).advance("answer", FinalText("the", cut=True))
    assert late.answer == Answer("the", Stop.DEADLINE)


def test_an_answer_after_nothing_but_unusable_replies_is_partial() -> None:
    unread, _ = begin(retries=0).advance("read/0", INVALID)
    done, _ = unread.advance("read/1", EndOfText())[0].advance("answer", FinalText("I do not know", cut=True))
    assert done.answer == Answer("I do not know", Stop.INVALID) and done.answer.partial
    assert Fold.from_json(done.to_json(), **RESUME) == done
    kept, _ = unread.advance("read/1", KEEP)
    done, _ = kept.advance("read/2", EndOfText())[0].advance("answer", FinalText("no"))
    assert done.answer == Answer("no") and done.invalid == 1
    again, _ = begin(retries=0).advance("read/0", replace(rewrite("found"), again=True))
    again, _ = again.advance("read/0/r1", INVALID)
    done, _ = again.advance("read/1", EndOfText())[0].advance("answer", FinalText("found"))
    assert done.answer == Answer("found") and done.invalid == done.chunks_read == 1
    done, _ = unread.cut(Stop.DEADLINE).advance("answer", FinalText("no"))
    assert done.answer == Answer("no", Stop.DEADLINE)


def test_cut_after_the_last_chunk_has_nothing_to_cut() -> None:
    fold, _ = begin().advance("read/0", EndOfText())
    assert fold.cut(Stop.DEADLINE) is fold
    first = begin().cut(Stop.TOKENS)
    assert first.cut(Stop.DEADLINE).stop is Stop.TOKENS


@given(st.lists(updates, max_size=12), st.integers(0, 8), st.integers(0, 2), st.data())
def test_crashes_duplicates_and_stale_replies_change_nothing(
    replies: list[Update], chunks: int, retries: int, data: st.DataObject
) -> None:
    run = Run(replies, chunks)
    want, steps = drive(begin(retries), run)
    ids = [step.id for step in steps]
    assert len(set(ids)) == len(ids)

    fold = begin(retries)
    seen: list[str] = []
    while not fold.done:
        assert len(fold.pending()) == 1
        [call] = fold.pending()
        match data.draw(st.sampled_from(["go", "crash", "stale"])):
            case "crash":
                fold = Fold.from_json(fold.to_json(), **RESUME)
                assert fold.pending() == (call,)
            case "stale":
                other = data.draw(st.sampled_from([*seen, "read/999", "answer/a9", "", "read/-1"]))
                assert fold.advance(other, rewrite("forged")) == (fold, None)
            case _:
                before = fold
                fold, step = fold.advance(call.id, run.reply(call.id, call.chunk))
                assert step is not None and step.id == call.id
                if step.update is not UpdateKind.REWRITE:
                    assert (fold.memory, fold.plan) == (before.memory, before.plan)
                seen.append(call.id)
    assert fold == want and seen == ids
    assert want.invalid == sum(
        step.update is UpdateKind.INVALID and (step.id.endswith(f"/a{retries}") or not retries) for step in steps
    )


@given(st.lists(updates, min_size=1, max_size=10), st.integers(0, 10), st.sampled_from(Stop))
def test_cut_at_any_point_depends_on_what_is_committed_only(replies: list[Update], at: int, why: Stop) -> None:
    run = Run(replies, 6)
    fold = begin()
    for _ in range(at):
        if fold.phase is Phase.READING:
            [call] = fold.pending()
            fold, _ = fold.advance(call.id, run.reply(call.id, call.chunk))
    cut = fold.cut(why)
    assert cut == Fold.from_json(fold.to_json(), **RESUME).cut(why)
    assert (cut.memory, cut.plan) == (fold.memory, fold.plan)
    done, steps = drive(cut, run)
    assert len(steps) == 1 and done.answer is not None
    unread = Stop.INVALID if 0 < fold.invalid == fold.chunks_read and not fold.memory else None
    assert done.answer.stop == (why if fold.phase is Phase.READING else unread)


@given(st.lists(updates, max_size=6), text, text)
def test_json_round_trip_at_every_state(replies: list[Update], core: str, instructions: str) -> None:
    fold = Fold.start(Query(core, instructions), profile="p-1", tokens="t-1", chunk_budget=100)
    run = Run(replies, 3)
    while True:
        saved = fold.to_json()
        assert saved.isascii() and "\n" not in saved
        assert Fold.from_json(saved, **RESUME) == fold
        if fold.done:
            break
        [call] = fold.pending()
        fold, _ = fold.advance(call.id, run.reply(call.id, call.chunk))


@pytest.mark.parametrize("change", [{"profile": "p-2"}, {"tokens": "t-2"}, {"chunk_budget": 101}])
def test_resume_is_refused_under_other_conditions(change: dict[str, object]) -> None:
    with pytest.raises(ResumeRefused, match=next(iter(change))):
        Fold.from_json(begin().to_json(), **(RESUME | change))


@given(
    st.one_of(
        st.text(max_size=40),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps),
    )
)
def test_any_other_text_is_refused(saved: str) -> None:
    with pytest.raises(ResumeRefused):
        Fold.from_json(saved, **RESUME)


@given(
    st.sampled_from(sorted(json.loads(begin().to_json()))), st.sampled_from([None, True, -1, 1.5, [], {}, "done", 99])
)
def test_a_damaged_state_is_refused_or_means_the_same(name: str, value: object) -> None:
    state = json.loads(begin().to_json())
    damaged = json.dumps(state | {name: value})
    try:
        fold = Fold.from_json(damaged, **RESUME)
    except ResumeRefused:
        return
    assert json.loads(fold.to_json()) == json.loads(damaged)
    assert len(fold.pending()) == (0 if fold.done else 1)


def test_missing_fields_and_deep_nesting_are_refused() -> None:
    state = json.loads(begin().to_json())
    for name in state:
        if name not in ("stop", "answer"):
            with pytest.raises(ResumeRefused):
                Fold.from_json(json.dumps({key: value for key, value in state.items() if key != name}), **RESUME)
    with pytest.raises(ResumeRefused):
        Fold.from_json("[" * 100_000, **RESUME)


@pytest.mark.parametrize("bad", [{"chunk_budget": 0}, {"retries": -1}])
def test_start_checks_its_budgets(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Fold.start(Query("q"), profile="p", tokens="t", **({"chunk_budget": 1} | bad))

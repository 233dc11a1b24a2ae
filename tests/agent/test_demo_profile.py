"""The demo policy's profile: taking questions apart, prompts, replies of every shape, grounding, sampling, budgets."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import (
    Call,
    CallKind,
    Completion,
    DirectTooLarge,
    FinalText,
    InvalidReply,
    Mode,
    Query,
    Unsupported,
    Update,
    UpdateKind,
    load_profile,
    route,
)
from longfold_agent.profiles import demo
from longfold_agent.profiles.choices import LETTERS, options_in, split_question
from longfold_agent.profiles.demo import EOS, KEEP, SPECIALS, read_reply
from longfold_agent.profiles.placeholders import TOKENS, Placeholders


@dataclass(frozen=True)
class Words:
    """Counts words."""

    name: str = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        words = list(re.finditer(r"\s*\S+", text))
        return len(text) if len(words) <= budget else words[budget - 1].end()


PROFILE = demo.profile()
TEXT = "It rained. The access code of Norbel is AX-4821, they say; a < b <div>."
LINE = "access code of Norbel: AX-4821"
READ = Call("read/3", CallKind.READ, "What is the access code of Norbel?", "", "", 3)
ANSWER = Call("answer", CallKind.ANSWER, "What is the access code of Norbel?", LINE, demo.AFTER_FIND)
REWRITE = Update(UpdateKind.REWRITE, LINE, demo.AFTER_FIND)
FULL = demo.render_update(demo.read_words(READ.question, "", TEXT), LINE, demo.AFTER_FIND)


def parse(
    text: str, *, finish: str = "stop", stop: int | str | None = None, call: Call = READ, chunk: str = TEXT
) -> Update:
    reply = PROFILE.parse(call, Completion(text, finish, stop_reason=stop), chunk, Words())
    assert isinstance(reply, Update)
    return reply


def answer(text: str, instructions: str = "") -> str:
    reply = PROFILE.parse(replace(ANSWER, instructions=instructions), Completion(text, "stop"), "", Words())
    assert isinstance(reply, FinalText)
    return reply.text


def taken(question: str) -> tuple[str, list[str]]:
    query = split_question(question)
    return query.core, options_in(query.instructions)


# --- questions ---

Q = "What is the access code of Norbel?"


@pytest.mark.parametrize("gap", [" ", "\n", "  ", "\n\n", ", ", "; "])
@pytest.mark.parametrize(
    "style",
    ["{}) {}", "({}) {}", "[{}] {}", "{}. {}", "{}: {}", "{} - {}", "{} \u2013 {}", "**{})** {}", "{}){}", "({}){}"],
)
@pytest.mark.parametrize("lower", [False, True])
def test_options_are_found_in_every_usual_shape(style: str, gap: str, lower: bool) -> None:
    letters = LETTERS.lower() if lower else LETTERS
    for texts in (["12", "14"], ["1.5", "AX-7", "the red door"], ["1", "2", "3", "4", "5", "6"]):
        options = gap.join(style.format(letter, text) for letter, text in zip(letters, texts, strict=False))
        first = " " if gap.strip() else gap
        assert taken(f"{Q}{first}{options}") == (Q, texts)


@pytest.mark.parametrize(
    "lead", ["Options:", "options", "Choose one of the following:", "Possible answers:", "Choices:"]
)
@pytest.mark.parametrize(
    "form", ["", "Answer with the letter.", "Please answer with the letter only.", "Reply in JSON."]
)
def test_words_around_the_options_become_instructions(lead: str, form: str) -> None:
    for gap in (" ", "\n"):
        query = split_question(gap.join([Q, lead, "A) 12", f"B) 14{'.' if form else ''}", form]))
        assert query.core == Q
        assert options_in(query.instructions) == ["12", "14"]
        assert lead in query.instructions and form in query.instructions


@pytest.mark.parametrize(
    ("question", "core", "options"),
    [
        ("code of Norbel A. 12 B. 14 C. 16 D. 18", "code of Norbel", ["12", "14", "16", "18"]),
        ("what is the code of Norbel A) 12 B) 14", "what is the code of Norbel", ["12", "14"]),
        ("Is it, A) 12 or B) 14?", "Is it,", ["12", "14"]),
        ("Which one: A) 12, B) 14, or C) 16?", "Which one:", ["12", "14", "16"]),
        (f"{Q}\n- A) 12\n- B) 14", Q, ["12", "14"]),
        (f"{Q}\nA) 12\nB) 14\nThank you.", Q, ["12", "14"]),
        (f"{Q} A. 12. B. 14. C. 16.", Q, ["12", "14", "16"]),
        (f"{Q} A) 12 B) 14 Answer with the letter only", Q, ["12", "14"]),
        (f"{Q} A) 12 B) 14 (answer with the letter)", Q, ["12", "14"]),
        (f"{Q} Answer with the letter. A) 12 B) 14", Q, ["12", "14"]),
        (f"{Q} A) Acme Inc. B) U.S. C) 5 p.m.", Q, ["Acme Inc.", "U.S.", "5 p.m."]),
        (f"{Q} A) the man who answers B) no one", Q, ["the man who answers", "no one"]),
        (f"{Q} A) A B) B", Q, ["A", "B"]),
        (f"{Q} A) Plan B B) Plan A", Q, ["Plan B", "Plan A"]),
        (f"{Q}\n\nA. J. A. Smith\nB. Dr. B. C. Jones\nC. nobody", Q, ["J. A. Smith", "Dr. B. C. Jones", "nobody"]),
        ("Who is Dr. A. Smith's head? A. Jones B. Brown C. Ray", "Who is Dr. A. Smith's head?",
         ["Jones", "Brown", "Ray"]),
        ("What is the number of choices? A) 12 B) 14", "What is the number of choices?", ["12", "14"]),
        ("What is the number of choices A) 12 B) 14", "What is the number of choices", ["12", "14"]),
        ("Tell me the code of Plan B. A) 12 B) 14", "Tell me the code of Plan B.", ["12", "14"]),
        (f"{Q} A) a < b B) <div> C) x[0]", Q, ["a < b", "<div>", "x[0]"]),
    ],
)  # fmt: skip
def test_options_with_unusual_marks(question: str, core: str, options: list[str]) -> None:
    assert taken(question) == (core, options)


@pytest.mark.parametrize(
    "question",
    [
        "What is the phone of Dr. A. Smith?",
        "What is the phone of Dr. A. Smith and Dr. B. Jones?",
        "Who is older, A. Smith or B. Jones?",
        "Tell me the phones of A. Smith, B. Jones and C. Brown.",
        "What is the code of Plan B?",
        "What is the code of Line A - the old one?",
        "Tell me the budget of Plan A: roof and Plan B: floor.",
        "What is the code of Tank (A) North and Tank (B) South?",
        "What is the A. B. Miller fund's code?",
        "What is the grade A B C of Norbel?",
        "A) 12 B) 14",
        "Options: A) 12 B) 14",
        "What is the code? A) 12",
        "Which one? A) B) C)",
        "",
    ],
)
def test_names_with_letters_are_no_options(question: str) -> None:
    assert split_question(question) == Query(question)


@pytest.mark.parametrize(
    ("question", "core"),
    [
        (f"{Q} Answer in JSON.", Q),
        (f"{Q} Please reply with one word only.", Q),
        (f"{Q}\nGive only the code, no explanation.", Q),
        (f"{Q} Do not explain.", Q),
        ("Tell me the code of Norbel. Use at most three words.", "Tell me the code of Norbel."),
    ],
)
def test_requests_about_the_form_leave_the_question(question: str, core: str) -> None:
    query = split_question(question)
    assert query.core == core and query.instructions
    assert f"{query.core} {query.instructions}".split() == question.split()


@pytest.mark.parametrize(
    "question",
    [
        "I lost my notes. Please tell me the access code of Norbel.",
        "Read the papers. Answer this: what is the access code of Norbel?",
        "Mind the date. Use of the hall costs what?",
        "It is urgent. Return address of Norbel?",
    ],
)
def test_what_is_asked_never_leaves_the_question(question: str) -> None:
    assert split_question(question) == Query(question)


def test_more_options_than_letters_are_answered_with_the_value() -> None:
    query = split_question(f"{Q} A) 1 B) 2 C) 3 D) 4 E) 5 F) 6 G) 7")
    assert query.core == Q
    assert options_in(query.instructions) == []
    assert "G) 7" in query.instructions


_PIECES = st.lists(
    st.sampled_from(
        [
            "A)", "B)", "C)", "(A)", "(B)", "A.", "B.", "A:", "B:", "a)", "b)", "12", "14.", "AX-4821", "Norbel",
            "What", "is", "it?", "Dr.", "Options:", "Answer", "with", "the", "letter.", "\n", "\n\n", "Please",
            "-", "G)",
            "and", "or", "Plan", "code", "choose", "one", "<mem>", "A", "B",
        ]
    ),
    max_size=24,
)  # fmt: skip


@given(_PIECES)
def test_no_word_of_a_question_is_lost(pieces: list[str]) -> None:
    question = " ".join(pieces)
    query = split_question(question)

    def kept(text: str) -> list[str]:
        words = re.findall(r"[\w-]*\w", text)
        return sorted(word for word in words if len(word) > 1 and word.lower() not in ("and", "or", "options"))

    assert kept(f"{query.core}\n{query.instructions}") == kept(question)
    assert query.core or not question.strip()
    assert PROFILE.decompose(question) == PROFILE.parse_decomposition(question, Completion("", "stop")) == query


@given(st.text(max_size=200))
def test_any_question_has_a_core_of_its_own_words(question: str) -> None:
    query = split_question(question)
    assert query.core in question
    assert bool(query.core) == bool(question.strip())
    assert len(options_in(query.instructions)) in (0, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "question",
    [
        "What? " + "\n" * 10_000 + "x A) b B) c",
        "What" + "\n \n" * 6_000 + "x. A) b B) c",
        "What is it? A) " + "," * 10_000 + "x B) y",
        "What is it? A) x B) y" + " " * 19_000 + "z",
        "What is it A: x" + "\t\n" * 9_000 + "y B: z C: u",
        "see A. " * 2_800 + "B. C. D",
        "see A. x B. " * 1_600,
    ],
)
def test_no_question_takes_the_square_of_its_length(question: str) -> None:
    began = time.process_time()
    split_question(question)
    assert time.process_time() - began < 1.5


def test_options_are_consecutive_lines() -> None:
    assert options_in("Reply fast.\nA) 12\nB) 14\nD) 16\nC) 18") == ["12", "14"]
    assert options_in("A) 12") == options_in("B) 12\nC) 14") == options_in("") == []


# --- prompts ---

FRAME = set(SPECIALS) - set(TOKENS)
"""The special tokens that are not words."""


def test_prompts_are_those_of_training() -> None:
    asked = "<q> What is the<w1><w2> of<w3>?"
    assert PROFILE.render(READ, "Some\ncode of NORBEL.").text == (
        f"{asked}<mem> none<plan> none<chunk>Some\n<w2> of<w3>.<out>"
    )
    number = Placeholders("", ["AX-4821"]).hide("AX-4821")
    fourteen = Placeholders("", ["14"]).hide("14")
    known = replace(READ, memory=LINE, plan=demo.AFTER_FIND)
    line = f"<w1><w2> of<w3>:{number}"
    assert PROFILE.render(known, "x").text == f"{asked}<mem> {line}<plan> watch for changes<chunk>x<out>"
    assert PROFILE.render(ANSWER).text == f"{asked}<mem> {line}<ans>"
    chosen = replace(ANSWER, instructions="Options:\nA) AX-4821\nB) code 14\nAnswer with the letter.")
    assert PROFILE.render(chosen).text == f"{asked}<opt> {number} A<opt> <w2>{fourteen} B<mem> {line}<ans>"
    assert f"<mem> {line}<plan> watch for changes<eos>" == FULL


@given(st.lists(st.sampled_from([*SPECIALS, "< mem >", "<MEM>", "<|im_start|>", "a < b", "\n", "x"]), max_size=8))
def test_untrusted_text_brings_no_special_token(pieces: list[str]) -> None:
    text = "".join(pieces)
    read = PROFILE.render(Call("read/0", CallKind.READ, text, text, text, 0), text).text or ""
    assert [token for token in re.findall(r"<\w+>", read) if token in FRAME] == (
        ["<q>", "<mem>", "<plan>", "<chunk>", "<out>"]
    )
    final = PROFILE.render(Call("answer", CallKind.ANSWER, text, text, "", None, f"A) x{text}\nB) y")).text or ""
    found = [token for token in re.findall(r"<\w+>", final) if token in FRAME]
    assert (found[0], found[-2:]) == ("<q>", ["<mem>", "<ans>"])
    assert set(found[1:-2]) <= {"<opt>"}
    assert "\n" not in final


def test_ordinary_signs_reach_the_policy_as_they_are() -> None:
    assert "a < b <div> x[i]" in (PROFILE.render(READ, "a < b <div> x[i]").text or "")


# --- replies to a read ---


@pytest.mark.parametrize("shape", ["{}", " {}\n", "\n{} "])
@pytest.mark.parametrize(
    "reply",
    [
        FULL,
        FULL.removesuffix("<eos>"),
        f"<mem> {LINE}<plan> watch for changes",
        f"<mem>{LINE}<plan>watch for changes<eos>",
        "<mem> access code of  Norbel:\nAX-4821<plan> watch for changes",
        "<mem><w1> <w2> of <w3>: AX-4821<plan> watch for changes",
    ],
)  # fmt: skip
def test_a_rewrite_is_read(reply: str, shape: str) -> None:
    assert parse(shape.format(reply)) == REWRITE
    assert parse(shape.format(reply), stop=EOS) == REWRITE


def test_an_empty_plan_is_written_as_none() -> None:
    assert parse(f"<mem> {LINE}<plan> none") == replace(REWRITE, plan="")
    assert parse(f"<mem> {LINE}<plan>") == replace(REWRITE, plan="")


def test_a_value_may_hold_a_less_sign() -> None:
    chunk = "The dose of Norbel is <5 mg a day. The sign of Norbel is <mem> here."
    assert parse("<mem> dose of Norbel: <5 mg<plan> none", chunk=chunk).memory == "dose of Norbel: <5 mg"
    shown = (PROFILE.render(READ, chunk).text or "").split("sign of<w3> is ")[1].split(" here")[0]
    assert shown != "<mem>"
    assert parse(f"<mem> sign of Norbel: {shown}<plan> none", chunk=chunk).kind is UpdateKind.REWRITE


@pytest.mark.parametrize(("text", "stop"), [("", KEEP), ("<keep>", None), (" <keep>\n", KEEP), ("<keep>", "<keep>")])
def test_the_policy_keeps(text: str, stop: int | str | None) -> None:
    assert parse(text, stop=stop) == Update(UpdateKind.KEEP)


def test_a_rewrite_that_changes_nothing_keeps() -> None:
    assert parse(FULL, call=replace(READ, memory=LINE, plan=demo.AFTER_FIND)).kind is UpdateKind.KEEP


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<eos>", "not of the form"),
        ("AX-4821", "not of the form"),
        (f"<mem> {LINE}", "not of the form"),
        (f"<plan> x<mem> {LINE}", "not of the form"),
        (f"{FULL}{FULL}", "not of the form"),
        (f"{FULL} and more", "not of the form"),
        (f"Sure: {FULL}", "not of the form"),
        (f"x<mem> {LINE}<plan> z", "not of the form"),
        (f"<mem> {LINE}<opt><plan> z", "not of the form"),
        (f"<mem> {LINE}<plan> z<keep>", "not of the form"),
        ("<mem> <plan> z", "not of the form"),
        ("<mem> none<plan> none", "not of the form"),
        ("<mem> ...<plan> none", "not of the form"),
        ("<mem> access code of Norbel: 9999<plan> none", "does not stand"),
        ("<mem> access code of Norbel: AX-48<plan> none", "does not stand"),
        ("<mem> access code of Trask: AX-4821<plan> none", "does not stand"),
        ("<mem> AX-4821<plan> none", "does not stand"),
        (f"<mem> {LINE}{' x' * 200}<plan> none", "memory over budget"),
        (f"<mem> {LINE}<plan>{' x' * 33}", "plan over budget"),
    ],
)
def test_unusable_replies_are_invalid(text: str, reason: str) -> None:
    update = parse(text)
    assert update.kind is UpdateKind.INVALID and reason in update.reason
    assert (update.memory, update.plan) == ("", "")


def test_keeping_in_the_middle_of_a_reply_is_invalid() -> None:
    assert parse("<mem> access code", stop=KEEP).kind is UpdateKind.INVALID
    assert parse(FULL.removesuffix("<eos>"), stop=KEEP).kind is UpdateKind.INVALID


def test_a_reply_cut_by_the_limit_is_invalid_unless_it_had_ended() -> None:
    for length in range(1, len(FULL) - len("<eos>") + 1):
        assert parse(FULL[:length], finish="length").reason == "cut by the output limit"
    assert parse(FULL, finish="length") == REWRITE


@pytest.mark.parametrize(
    ("memory", "text", "stands"),
    [
        (LINE, "THE ACCESS CODE of norbel is ax-4821", True),
        ("head of the Old Mill: Ann\u00a0Ray", "Old\nMill: Ann   Ray", True),
        ("rate of Norbel: 12", "Norbel has 4123", False),
        ("rate of Norbel: 12", "Norbel has 12%", True),
        ("rate of Norbel: 5%", "Norbel's 5% rate", True),
        ("rate of the Trask: 12", "the rate is 12", False),
        ("ratio of Norbel: 1: 2", "Norbel 1: 2", True),
        ("time of Norbel: 7:30", "Norbel opens at 7:30.", True),
        ("note of Norbel: (a+b)*", "Norbel (a+b)* x", True),
        ("access code of Norbel:", "Norbel", False),
        ("name of ***: 12", "*** has 12", True),
    ],
)
def test_a_value_must_stand_in_the_text(memory: str, text: str, stands: bool) -> None:
    assert demo.grounded(memory, "", text) is stands


def test_the_memory_before_supports_itself() -> None:
    assert demo.grounded(LINE, LINE, "nothing of the kind")
    assert not demo.grounded(LINE, "", "nothing of the kind")


ABOARD = "passengers of the Heron: Ann Orr"
DECK = "The Heron took Carl Reed and Ann Orr, and later Bo Hay of the Gull."


@pytest.mark.parametrize(
    ("memory", "before", "stands"),
    [
        (ABOARD, "", True),
        (f"{ABOARD}; Carl Reed", "", True),
        (f"{ABOARD}; Carl Reed", ABOARD, True),
        (f"{ABOARD}; Carl Reed; Bo Hay", ABOARD, True),
        (f"{ABOARD}; Ann Ray", ABOARD, False),
        (f"{ABOARD}; Carl Reed; Ann Ray", ABOARD, False),
        (f"{ABOARD}; Carl", ABOARD, True),
        (f"{ABOARD}; Car", ABOARD, False),
        (f"{ABOARD}; ann orr", ABOARD, False),
        (f"{ABOARD}; Carl Reed; Carl Reed", ABOARD, False),
        (f"{ABOARD}; ", ABOARD, False),
        (f"{ABOARD};", ABOARD, False),
        (f"{ABOARD}, Carl Reed", ABOARD, False),
        ("passengers of the Heron: Carl Reed", ABOARD, False),
        ("passengers of the Heron: Carl Reed; Ann Orr", ABOARD, False),
        ("sailors of the Heron: Ann Orr; Carl Reed", ABOARD, False),
        ("passengers of the Trask: Ann Orr", "", False),
        ("passengers of the Trask: Ann Orr; Carl Reed", "passengers of the Trask: Ann Orr", False),
        ("passengers of the Heron: Jo Kay; Carl Reed", "passengers of the Heron: Jo Kay", True),
        ("passengers of the Heron: Jo Kay; Carl Reed", "", False),
        (f"{ABOARD}: Carl Reed", ABOARD, False),
        ("Ann Orr", "", False),
        ("Ann Orr; Carl Reed", "Ann Orr", False),
    ],
)
def test_each_new_item_must_stand_in_the_text_and_none_is_lost(memory: str, before: str, stands: bool) -> None:
    assert demo.grounded_items(memory, before, DECK) is stands
    assert demo.grounded_items(memory, memory, "nothing of the kind")


@pytest.mark.parametrize("question", ["List the passengers of the Heron.", "How many passengers has the Heron?"])
@pytest.mark.parametrize(
    ("said", "before", "memory"),
    [
        (ABOARD, "", ABOARD),
        ("passengers of the Heron: Carl Reed", ABOARD, f"{ABOARD}; Carl Reed"),
        ("passengers of the Heron: Carl Reed; Bo Hay", ABOARD, f"{ABOARD}; Carl Reed; Bo Hay"),
        ("passengers of the Heron: Carl Reed; ann orr", ABOARD, f"{ABOARD}; Carl Reed"),
        (f"{ABOARD}; Carl Reed", ABOARD, f"{ABOARD}; Carl Reed"),
        ("passengers of the Heron: Carl Reed", f"{ABOARD}; Jo Kay", f"{ABOARD}; Jo Kay; Carl Reed"),
        ("tools of the Heron: B: Carl Reed", "tools of the Heron: B: Bo", "tools of the Heron: B: Bo; Carl Reed"),
        (f"{ABOARD}; Ann Orr; Ann Orr", ABOARD, ABOARD),
        ("passengers of the Heron: Carl Reed; Carl Reed; carl reed", ABOARD, f"{ABOARD}; Carl Reed"),
        (f"{ABOARD}; Carl Reed; Ann Orr", "", f"{ABOARD}; Carl Reed"),
        ("passengers of the Heron: Ann Orr", f"{ABOARD}; Jo Kay", f"{ABOARD}; Jo Kay"),
        ("passengers of the Heron: Ann Ray", ABOARD, None),
        ("passengers of the Heron: Carl Reed; ", ABOARD, None),
        (f"{ABOARD}; ", ABOARD, None),
        ("sailors of the Heron: Carl Reed", ABOARD, None),
        ("Carl Reed", ABOARD, None),
        ("passengers of the Trask: Ann Orr; Carl Reed", "passengers of the Trask: Ann Orr", None),
    ],
)
def test_what_the_chunk_adds_to_a_list_goes_behind_it(
    question: str, said: str, before: str, memory: str | None
) -> None:
    call = replace(READ, question=question, memory=before, plan=demo.AFTER_FIND if before else "")
    reply = demo.render_update(demo.read_words(question, before, DECK), said, demo.AFTER_FIND)
    update = parse(reply, call=call, chunk=DECK)
    if memory is None:
        assert update.kind is UpdateKind.INVALID
    elif memory == before:
        assert update == Update(UpdateKind.KEEP)
    else:
        assert update == Update(UpdateKind.REWRITE, demo.item_lines(memory), demo.AFTER_FIND, again=True)
        again = replace(call, memory=update.memory, plan=update.plan)
        assert PROFILE.render(again, DECK) == PROFILE.render(replace(again, memory=memory), DECK)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ann Orr and Carl Reed are passengers.", "<mem> and{Carl Reed} are<w1>."),
        ("With ann\norr, or Ann Orr: Ann Orrick.", "With<mem>, or<mem>:{Ann Orrick}."),
        ("a salt box, the salt and saltings", "a<mem>, the<mem> and{saltings}"),
        ("The Heron has it.", "The<w2> has it."),
    ],
)
def test_what_a_list_holds_already_is_marked_in_the_text(text: str, shown: str) -> None:
    question, memory = "List the passengers of the Heron.", f"{ABOARD}; salt; salt box; Heron"
    words = demo.read_words(question, memory, text)
    for name in ("Carl Reed", "Ann Orrick", "saltings"):
        shown = shown.replace(f"{{{name}}}", words.hide(f" {name}"))
    assert demo.hide_text(words, memory, text) == shown
    assert f"<chunk>{shown}<out>" in demo.render_read(question, memory, "", text)
    for other in ("", "Ann Orr", "passengers of the Heron: "):
        assert demo.hide_text(words, other, text) == words.hide(text)
    single = demo.read_words("Who is the captain of the Heron?", memory, text)
    assert demo.hide_text(single, memory, text) == single.hide(text)


def test_a_list_is_kept_an_item_a_line() -> None:
    line = "passengers of the Heron: Ann Orr; Carl Reed; Bo: Hay"
    assert demo.item_lines(line) == (
        "passengers of the Heron: Ann Orr\npassengers of the Heron: Carl Reed\npassengers of the Heron: Bo: Hay"
    )
    assert all(demo.one_line(demo.item_lines(one)) == one for one in (line, LINE, "x", ""))


_WORDS = st.text(st.sampled_from("ab: "), min_size=1).map(lambda text: " ".join(text.split())).filter(bool)


@given(_WORDS, st.lists(_WORDS, min_size=1, max_size=4))
def test_a_list_in_lines_is_the_line_it_came_from(key: str, items: list[str]) -> None:
    line = f"{key}: {'; '.join(items)}"
    assert demo.one_line(demo.item_lines(line)) == line


def test_one_value_may_still_be_replaced() -> None:
    before = "access code of Norbel: 12"
    call = replace(READ, memory=before)
    assert parse(FULL, call=call) == REWRITE


HOP = "What is the access code of the manager of Norbel?"


def test_a_plan_names_what_to_look_for_in_words_of_the_question() -> None:
    text = "Ann Orr is the manager of Norbel."
    plan = demo.find_plan("access code", "Ann Orr")
    said = demo.render_update(demo.read_words(HOP, "", text), "manager of Norbel: Ann Orr", plan)
    assert re.fullmatch(r"<mem> <w3> of<w4>:(<c\d+>)<plan> find the<w1><w2> of\1<eos>", said)
    update = parse(said, call=replace(READ, question=HOP), chunk=text)
    assert update == Update(
        UpdateKind.REWRITE, "manager of Norbel: Ann Orr", "find the access code of Ann Orr", again=True
    )


SOUGHT = replace(READ, question=HOP, memory="manager of Norbel: Ann Orr", plan="find the access code of Ann Orr")
CODE_OF_ANN = "Ann Orr has the access code 12."


def test_what_a_plan_seeks_is_asked_as_a_question_of_its_own() -> None:
    single = replace(READ, question="What is the access code of Ann Orr?")
    assert PROFILE.render(SOUGHT, CODE_OF_ANN) == PROFILE.render(single, CODE_OF_ANN)
    said = f"<mem> access code of Ann Orr: 12<plan> {demo.AFTER_FIND}"
    found = parse(said, call=SOUGHT, chunk=CODE_OF_ANN)
    assert found == Update(
        UpdateKind.REWRITE, "manager of Norbel: Ann Orr\naccess code of Ann Orr: 12", demo.AFTER_FIND
    )
    assert parse(said.replace("12", "13"), call=SOUGHT, chunk=CODE_OF_ANN).kind is UpdateKind.INVALID
    assert parse("<keep>", call=SOUGHT, chunk=CODE_OF_ANN) == Update(UpdateKind.KEEP)


def test_a_plan_that_never_ends_cannot_grow_the_memory_without_bound() -> None:
    call = SOUGHT
    for _ in range(100):
        update = parse("<mem> access code of Ann Orr: 12<plan> find the access code", call=call, chunk=CODE_OF_ANN)
        if update.kind is UpdateKind.INVALID:
            break
        assert update.again
        call = replace(call, memory=update.memory, plan=update.plan)
    assert update.reason == "memory over budget"


def test_what_a_plan_sought_is_watched_for_changes() -> None:
    found = replace(SOUGHT, memory="manager of Norbel: Ann Orr\naccess code of Ann Orr: 12", plan=demo.AFTER_FIND)
    single = replace(found, question="What is the access code of Ann Orr?", memory="access code of Ann Orr: 12")
    later = "The access code of Ann Orr is 13 now."
    assert PROFILE.render(found, later) == PROFILE.render(single, later)
    update = parse(f"<mem> access code of Ann Orr: 13<plan> {demo.AFTER_FIND}", call=found, chunk=later)
    assert update.memory == "manager of Norbel: Ann Orr\naccess code of Ann Orr: 13"
    assert parse(f"<mem> access code of Ann Orr: 12<plan> {demo.AFTER_FIND}", call=found).kind is UpdateKind.KEEP
    asked = replace(found, kind=CallKind.ANSWER, chunk=None)
    assert PROFILE.render(asked) == PROFILE.render(replace(single, kind=CallKind.ANSWER, chunk=None))


def test_the_plan_after_a_find_has_its_own_words() -> None:
    question = "What is the watch of the changes?"
    asked = PROFILE.render(replace(READ, question=question, memory=LINE, plan=demo.AFTER_FIND), TEXT).text or ""
    assert f"<plan> {demo.AFTER_FIND}<chunk>" in asked


_REPLY = st.lists(
    st.one_of(st.sampled_from([*SPECIALS, f" {LINE}", " none", " ", "AX-4821", "Norbel", ": ", " of "]), st.text()),
    max_size=10,
).map("".join)  # fmt: skip


@given(
    _REPLY, st.sampled_from(["stop", "length", "abort"]), st.sampled_from([None, EOS, KEEP, 77, "<keep>"]), st.text()
)
def test_a_read_always_gives_an_update_and_never_an_empty_memory(
    reply: str, finish: str, stop: int | str | None, chunk: str
) -> None:
    for text in (chunk, TEXT):
        update = parse(reply, finish=finish, stop=stop, chunk=text)
        if update.kind is UpdateKind.REWRITE:
            assert any(sign.isalnum() for sign in update.memory)
            assert not any(special in update.memory + update.plan for special in SPECIALS)
            assert "\n" not in demo.one_line(update.memory)
        else:
            assert update.memory == ""
            assert (update.kind is UpdateKind.INVALID) == bool(update.reason)


_BODY = st.text(st.characters(exclude_characters="<"), max_size=30)


@given(_BODY, _BODY)
def test_what_is_rendered_is_parsed(memory: str, plan: str) -> None:
    memory = f"{memory} x"
    words = demo.read_words("What?", "", memory)
    parsed = demo.parse_update(words, demo.render_update(words, memory, plan), "")
    assert parsed is not None
    assert parsed[0] == " ".join(memory.split())
    said = " ".join(plan.split())
    assert parsed[1] == ("" if said == demo.NOTHING else said)


# --- answers ---


@pytest.mark.parametrize(
    ("reply", "options", "said"),
    [
        (" AX-4821<eos>", [], "AX-4821"),
        (" B", [], "B"),
        (" Plan B", [], "Plan B"),
        (" 14 B<eos>", ["12", "14"], "B"),
        (" B", ["12", "14"], "B"),
        (" 14", ["12", "14"], "B"),
        (" 14 A", ["12", "14"], "B"),
        (" 15 A", ["12", "14"], "A"),
        (" unknown", ["12", "14"], "unknown"),
        (" 14 C", ["12", "13"], "14 C"),
        (" B A", ["B", "A"], "A"),
        (" B", ["B", "A"], "A"),
        (" Plan B", ["Plan B", "Plan A"], "A"),
        (" Plan A B", ["Plan B", "Plan A"], "B"),
        (" dark  Green A", ["red", "Dark green"], "B"),
    ],
)
def test_a_reply_names_an_option_by_its_value_or_its_letter(reply: str, options: list[str], said: str) -> None:
    assert read_reply(demo.answer_words(Q, options, ""), reply, options) == said
    instructions = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    assert answer(reply, instructions) == said


@given(st.lists(st.text("abcAB 12-.", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=6, unique=True))
def test_every_option_can_be_answered(options: list[str]) -> None:
    plain = [" ".join(option.split()).casefold() for option in options]
    words = demo.answer_words(Q, options, "")
    for place, option in enumerate(options):
        said = read_reply(words, demo.render_reply(words, option, LETTERS[place]), options)
        whole = f"{plain[place]} {LETTERS[place].lower()}"
        assert said == LETTERS[plain.index(whole) if whole in plain else plain.index(plain[place])]


@pytest.mark.parametrize("reply", ["", " ", "<eos>", " <eos>\n", " 12<mem>", "<keep>", "<q> What"])
def test_an_answer_without_words_is_refused(reply: str) -> None:
    with pytest.raises(InvalidReply):
        PROFILE.parse(ANSWER, Completion(reply, "stop"), "", Words())


def test_an_answer_may_hold_a_less_sign() -> None:
    assert answer(" <5 mg") == "<5 mg"


# --- sampling, budgets, identity ---


def test_sampling_stops_where_the_policy_does() -> None:
    read, final = PROFILE.sampling(READ), PROFILE.sampling(ANSWER)
    assert (read.stop_token_ids, final.stop_token_ids) == ((EOS, KEEP), (EOS,))
    assert (read.max_tokens, final.max_tokens) == (PROFILE.budgets.read_output, PROFILE.budgets.answer_output)
    assert read.extra == final.extra == {"skip_special_tokens": False}
    assert (read.temperature, read.seed) == (final.temperature, final.seed) == (0.0, None)


def test_each_retry_is_warm_and_has_a_seed_of_its_own() -> None:
    first, second = (PROFILE.sampling(replace(READ, attempt=attempt)) for attempt in (1, 2))
    assert first.temperature == second.temperature > 0
    assert first.seed != second.seed


def test_the_gate_can_be_biased() -> None:
    biased = replace(PROFILE, keep_bias=-1.5)
    assert biased.sampling(READ).logit_bias == {KEEP: -1.5}
    assert PROFILE.sampling(READ).logit_bias == biased.sampling(ANSWER).logit_bias == {}
    assert biased.version != PROFILE.version


def test_budgets_are_part_of_the_identity_and_are_kept() -> None:
    small = load_profile("demo", memory_tokens=4)
    assert small.version != PROFILE.version
    reply = small.parse(READ, Completion(FULL, "stop"), TEXT, Words())
    assert isinstance(reply, Update) and reply.reason == "memory over budget"
    assert load_profile("demo").version == PROFILE.version
    assert PROFILE.gate and "four million" in PROFILE.notice


# --- the single pass ---

SHORT = replace(PROFILE, budgets=replace(demo.BUDGETS, direct=512))
NORBEL = Query(Q)
CHOICE = Query(Q, "A) BT-7\nB) AX-4821")


def direct(reply: str, query: Query = NORBEL, text: str = TEXT, finish: str = "stop") -> str:
    """What the single pass over `text` answers when the policy replies with `reply`, its words hidden."""
    words = demo.direct_words(query.core, options_in(query.instructions), text)
    return SHORT.parse_direct(Completion(words.hide(reply), finish), query, [("t", text)])


def test_there_is_no_single_pass_unless_the_weights_know_it(tmp_path: Path) -> None:
    for profile in (PROFILE, load_profile("demo"), load_profile("demo", policy=tmp_path)):
        assert profile.version == PROFILE.version
        with pytest.raises(Unsupported, match="it has no single pass"):
            profile.render_direct(NORBEL, [("t", "x")])
        for mode in (Mode.AUTO, Mode.FOLD):
            found = route(NORBEL, [("t", ["x"])], profile=profile, tokens=Words(), window=2048, mode=mode)
            assert found.mode is Mode.FOLD
        with pytest.raises(Unsupported):
            route(NORBEL, [("t", ["x"])], profile=profile, tokens=Words(), window=2048, mode="direct")


def test_the_weights_say_in_their_configuration_that_they_know_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 192}')
    assert load_profile("demo", policy=tmp_path).version == PROFILE.version
    (tmp_path / "config.json").write_text('{"longfold_direct_tokens": 300}')
    profile = load_profile("demo", policy=tmp_path, memory_tokens=96)
    assert profile.budgets.direct == 300 and profile.budgets.memory == 96
    assert profile.version != load_profile("demo", memory_tokens=96).version
    fits, longer = (
        route(NORBEL, [("", ["word " * 150]), ("", ["word " * more])], profile=profile, tokens=Words(), window=2048)
        for more in (150, 151)
    )
    assert fits.mode is Mode.DIRECT and longer.mode is Mode.FOLD
    assert longer.reason == (
        "Reading chunk by chunk: 301 tokens of documents exceed the 300 that this model takes at once."
    )
    with pytest.raises(DirectTooLarge, match="301 tokens of documents"):
        route(NORBEL, [("", ["word " * 301])], profile=profile, tokens=Words(), window=2048, mode="direct")
    assert load_profile("general", policy=tmp_path).version == load_profile("general").version
    for broken in ("{", "[]", '{"longfold_direct_tokens": "yes"}', '{"longfold_direct_tokens": -1}'):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(ValueError):
            load_profile("demo", policy=tmp_path)


def test_the_prompt_of_the_single_pass_has_one_token_for_a_word() -> None:
    assert SHORT.render_direct(NORBEL, [("title", "Norbel"), ("", "access <chunk> code")]).text == (
        "<q> What is the<w1><w2> of<w3>?<chunk><w3>\n\n<w1> ‹chunk><w2><ans>"
    )
    prompt = SHORT.render_direct(CHOICE, [("", TEXT)]).text
    assert prompt is not None
    hide = demo.direct_words(Q, ["BT-7", "AX-4821"], TEXT).hide
    right = hide("AX-4821")
    assert prompt.startswith(f"<q> What is the<w1><w2> of<w3>?<opt> {hide('BT-7')} A<opt> {right} B<chunk>")
    assert prompt.endswith(f" The<w1><w2> of<w3> is{right}, they say; a < b <div>.<ans>")
    assert SHORT.sampling_direct() == SHORT.sampling(ANSWER)
    assert SHORT.sampling_direct(2) == SHORT.sampling(replace(ANSWER, attempt=2)) != SHORT.sampling_direct()


def test_the_answer_of_the_single_pass_stands_in_the_text() -> None:
    assert direct(" AX-4821<eos>") == "AX-4821"
    assert direct(" AX-4822<eos>") == direct(" AX-48<eos>") == direct(" unknown<eos>") == demo.UNKNOWN
    assert direct(" AX-4821 B<eos>", CHOICE) == direct(" B<eos>", CHOICE) == "B"
    assert direct(" BT-7 A<eos>", CHOICE) == direct(" unknown<eos>", CHOICE) == demo.UNKNOWN
    for nothing in ("", "<eos>", " <mem> AX-4821<eos>"):
        with pytest.raises(InvalidReply):
            direct(nothing)


def test_a_list_stands_in_the_text_and_a_count_need_not() -> None:
    text = "The tools of Norbel are a file and a saw."
    assert direct(" file; saw<eos>", Query("List the tools of Norbel."), text) == "file; saw"
    assert direct(" file; axe<eos>", Query("List the tools of Norbel."), text) == demo.UNKNOWN
    assert direct(" 2<eos>", Query("How many tools does Norbel have?"), text) == "2"
    assert direct(" 2<eos>", Query("What is the tool of Norbel?"), text) == demo.UNKNOWN


def test_a_reply_that_is_still_written_shows_only_what_the_text_supports() -> None:
    assert direct(" AX-4821", finish="length") == "AX-4821"
    for unfinished in (" AX-48", " unk", " unknown"):
        with pytest.raises(InvalidReply):
            direct(unfinished, finish="length")


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["stop", "length"]))
def test_any_reply_of_the_single_pass_is_an_answer_or_invalid(text: str, reply: str, finish: str) -> None:
    for query in (NORBEL, CHOICE, Query("List the tools of Norbel.")):
        try:
            answer = SHORT.parse_direct(Completion(reply, finish), query, [("", text)])
        except InvalidReply:
            continue
        assert answer.strip() and not any(special in answer for special in SPECIALS)

"""What the demo policy is not shown: line breaks that only a page's width has made, and marks around words."""

from __future__ import annotations

import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import Call, CallKind
from longfold_agent.profiles import demo
from longfold_agent.profiles.layout import NARROWEST, without_layout

PROSE = (
    "Nobody in the office could say why the boiler had stopped, and so the access code of Mill Lane Bakery, which is "
    "9047, had to be read out over the telephone to a man who stood in the rain and wrote it on his sleeve."
)


@pytest.mark.parametrize("width", [NARROWEST + 4, 72, 80, 120])
@pytest.mark.parametrize("indent", ["", "   "])
def test_a_wrapped_paragraph_is_one_line(width: int, indent: str) -> None:
    wrapped = textwrap.fill(PROSE, width, initial_indent=indent, subsequent_indent=indent)
    assert "\n" in wrapped
    assert without_layout(f"First.\n\n{wrapped}\n\nLast.\n") == f"First.\n\n{indent}{PROSE}\n\nLast.\n"


def test_lines_of_a_page_need_not_be_equally_long() -> None:
    lines = [
        "Nobody in the office could say why the boiler had stopped, so the access code of Mill",
        "Lane Bakery had to be read out over the telephone to a man who stood out",
        "in the rain.",
    ]
    assert without_layout("\n".join(lines)) == " ".join(lines)


@pytest.mark.parametrize(
    "lines",
    [
        "Roses are red,\nviolets are blue",
        "- the access code of Norbel, which nobody knows, is 4821\n- the access code of Tarvik, they say, is 7306",
        "1. the access code of Norbel, which nobody knows, is 4821\n2. the access code of Tarvik, they say, is 7306",
        "# The access codes of all rooms of the northern wing\nThe access code of Norbel is 4821 until further notice.",
        "The access code of Norbel is 4821 until further notice.\n# The access codes of all rooms of the northern wing",
        "Norbel | the room on the left | access code | 4821 |\nTarvik | the room on the right | access code | 7306 |",
        "Registered office: 14 Mill Lane, by the old mill\nAccess code of the office: 4821, until further notice",
        "The access code of Norbel is 4821.\nTarvik has another one, which nobody would ever have guessed, they say.",
    ],
)
def test_lines_of_their_own_stay(lines: str) -> None:
    assert without_layout(lines) == lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The access code of **Norbel** is **AX-4821**.", "The access code of Norbel is AX-4821."),
        ("The access code of *Norbel* is ***4821***, they say.", "The access code of Norbel is 4821, they say."),
        ("The access code of __Norbel__ is _4821_.", "The access code of Norbel is 4821."),
        ("Set `access_code` to `4821`; ``4822`` fails.", "Set access_code to 4821; 4822 fails."),
        ("It is called \u201cBlue Lantern\u201d.", "It is called Blue Lantern."),
        ('It is called "Blue Lantern", or "**Lantern**".', "It is called Blue Lantern, or Lantern."),
        ("The sign above the door of that house in Mill Lane calls it \u201cBlue\nLantern\u201d.",
         "The sign above the door of that house in Mill Lane calls it Blue Lantern."),
        ("Nobody in the office could say why the code of Mill\n**Lane** Bakery is 9047, they say.",
         "Nobody in the office could say why the code of Mill Lane Bakery is 9047, they say."),
        ("They say \u201cthe code is \u2018**4821**\u2019\u201d.", "They say the code is 4821."),
        ("Es hei\u00dft \u201eBlaue Laterne\u201c.", "Es hei\u00dft Blaue Laterne."),
        ("Il s'appelle \u00ab Lanterne \u00bb.", "Il s'appelle Lanterne."),
        ("They call it \u2018the Lantern\u2019; 'the inn' is older.", "They call it the Lantern; the inn is older."),
        ("It seats 4821[3][12] since **1990**[^note].", "It seats 4821 since 1990."),
        ("[Norbel](https://example.org/a_(b)) seats 4821.", "Norbel seats 4821."),
        ("![a plan](plan.png) of [the room](#r)", "a plan of the room"),
        ("> The code is 4821.\n> > It was 4820.", "The code is 4821.\nIt was 4820."),
    ],
)  # fmt: skip
def test_marks_around_words_go(text: str, shown: str) -> None:
    assert without_layout(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "x*y and 5 * 3 and 2**8", "a snake_case name and _private", 'a 5" pipe and a 6" pipe',
        "Norbel's and the clerks' room", "they're the clerks' own, aren't they", "* an item", "a [3] b and f[x]",
        "if a < b > c", "a ` b", "```\ncode\n```",
    ],
)  # fmt: skip
def test_signs_that_are_no_marks_stay(text: str) -> None:
    assert without_layout(text) == text


@given(
    st.lists(
        st.sampled_from(
            ["Norbel", "4821", " ", "\n", "\n\n", "*", "_", "`", '"', "'", "> ", "\u201c", "\u201d", "- ", ". "]
        )
    )
)
def test_no_word_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert without_layout(text).translate(_SIGNS).split() == text.translate(_SIGNS).split()


_SIGNS = dict.fromkeys(map(ord, "*_`\"'>\u201c\u201d"))


@pytest.mark.parametrize(
    "sign",
    ["*", "_", "`", '"', "'", "> ", "[", "](", "[a](", "\u201c", "\u00ab", "\u00ab ", "\n ", "\n", "a:", "- a\n"],
)
def test_no_text_takes_the_square_of_its_length(sign: str) -> None:
    start = time.process_time()
    without_layout(sign * (200_000 // len(sign)))
    without_layout(f"a {sign}" * (200_000 // (len(sign) + 2)))
    assert time.process_time() - start < 5


def test_the_policy_sees_a_name_over_two_lines_as_one() -> None:
    call = Call("read/0", CallKind.READ, 'What is the access code of "Mill Lane Bakery"?', "", "", 0)
    told = (
        "In the end nobody could say why, and so the access code of Mill\nLane Bakery, which is `9047`, had to be read."
    )
    prompt = demo.profile().render(call, told).text
    assert prompt is not None
    assert "the<w1><w2> of<w3><w4><w5>, which is<n" in prompt
    assert prompt.startswith("<q> What is the<w1><w2> of<w3><w4><w5>?")

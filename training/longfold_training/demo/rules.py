"""The rules of the training grammar as data. Knows nothing of expansion. None of the held-out templates can be produced
from them."""

from __future__ import annotations

_STATE = """
{np} {be} {V}
{np} {be} {V}
{np} {be} {V}
{np} {be} {adv} {V}
{np} {adv} {be} {V}
{np} {be} {pp} {prep} {V}
{np} {be} {pp} {prep} {V}
{np} {be} {pp} {byagent} {prep} {V}
{np} {be} {adv} {pp} {prep} {V}
{np} {link} {V}
{np} {link} {V}
{np} {past} {prep} {V}
{np}, {aside}, {be} {V}
{np} ({paren}) {be} {V}
{np} {pp} {place_time} {be} {V}
{np} in {document} {be} {V}
{np} {be} {said} {to_be} {V}
{V} is {np}
{V} was {np}
{V} {vlink} {np}
{V} {vlink} {np}
{V} has been {pp} as {np}
{V} was {pp} {byagent} as {np}
{E} {has} {V} as {its} {A}
{E} {has} {V} for {its} {A}
{E} {has} the {A} {V}
{E} {has} {anA} of {V}
{E} {has} {anA}, {V}
{E} {has} {its} {A} {prep} {V}
{E} {be} {pp} with the {A} {V}
{E} {be} {pp} with {anA} of {V}
{E} {be} {pp} under the {A} {V}
{E}, with {anA} of {V}, {vp}
{E}, whose {A} {be} {V}, {vp}
{E}, whose {A} {be} {V}, {be} {adj}
{E}, which {has} {V} as its {A}, {vp}
{E}, {A} {V}, {vp}
{E} ({A} {V}) {vp}
{E} ({A}: {V}) {vp}
{E} {vp} with {anA} of {V}
{E} {vp} under the {A} {V}
{agent} {past} {E}, whose {A} {be} {V}
{agent} {set} {np} {prep} {V}
{agent} {set} {np} {prep} {V}
{agent} {set} {V} as {np}
{agent} {set} {V} for {np}
{agent} {set} {its} {A} of {E} {prep} {V}
{agent} {gave} {E} the {A} {V}
{agent} {gave} {E} {V} as {its} {A}
{agent} {gave} the {A} {V} to {E}
{agent} {past} that {E} {has} the {A} {V}
{agent} {set} the {A} {V} {forto} {E}
{agent} {past} the {A} {V} {forto} {E}
the {A} {V} {belongs} {E}
the {A} {V} {be} {pp} {forto} {E}
the {A} {forto} {E} {be} {V}
{V}, {np}, {vp}
{np}, {V}, {vp}
{np} ({V}) {vp}
{np} - {V} - {vp}
for {E}, the {A} {be} {V}
for {E} the {A} {be} {V}
for {E}, {V} {be} {pp} as the {A}
as for {E}, {its} {A} {be} {V}
with {E}, the {A} {be} {V}
at {E}, the {A} {be} {V}
in the case of {E}, the {A} {be} {V}
{document} {shows} {V} as {np}
{document} {shows} {V} for {np}
{document} {shows} {V} under {np}
{document} {shows} {np} {prep} {V}
{document} {shows} the {A} {V} for {E}
{document} {shows} {anA} of {V} for {E}
{document} {shows} that {np} {be} {V}
you will find {V} as {np}
there is {anA} of {V} for {E}
it is {V} that {vlink} {np}
what {E} {has} as {its} {A} is {V}
when asked for {np}, {agent} {said} {V}
{agent} {said} that {np} {be} {V}
{agent} {said} {np} {be} {V}
anyone who needs {np} should {verb} {V}
please {verb} {V} as {np}
please {verb} {V} for {np}
to {verb} {np}, {verb} {V}
{E} {vp}, and {its} {A} {be} {V}
{E} {be} {adj} and {has} {anA} of {V}
{E} {be} {adj}; {its} {A} {be} {V}
{np} {be} {V}, while that of {E2} {be} {V2}
{np} {be} {V}, and that of {E2} {be} {V2}
{np} {be} {V}, and {its} {A2} {be} {V2}
{np} {be} {V} and {its} {A2} {be} {V2}
{E} {has} {V} as {its} {A} and {V2} as {its} {A2}
{E} {has} {anA} of {V} and {anA2} of {V2}
"""

_UPDATE = """
{np} {be} {moved} {to} {V}
{np} {be} {moved} {to} {V}
{np} {be} {moved} {byagent} {to} {V}
{np} {be} {moved} from {X} {to} {V}
{np} {be} {moved} from {X} {to} {V}
{np} {went} from {X} {to} {V}
{np} {went} {to} {V}
{np} {be} {adv} {V}
{np} is {V} now
{np} is now {V}
{np} is {V} now, not {X}
{np} is {V}, no longer {X}
{np} is {V} instead of {X}
{np} is no longer {X} but {V}
{np} is not {X} any more but {V}
{np} was {X} at first but is now {V}
{np} was {X} until {time} and is {V} now
{np} had been {X}, but it {be} {moved} {to} {V}
{np} used to be {X}; {now} it is {V}
{np}, once {X}, is {now} {V}
{np}, {formerly} {X}, {be} {V}
{np} is {V} ({formerly} {X})
{np} {be} {V}, {formerly} {X}
{np} {be} {V}, up from {X}
{np} {be} {V}, down from {X}
{np} {be} {V} after {X}
{np} has become {V}
{np} became {V}
{np} has changed and is {V}
{np} has changed {to} {V}
{agent} {change} {np} {to} {V}
{agent} {change} {np} {to} {V}
{agent} {change} {np} from {X} {to} {V}
{agent} {change} {np} from {X} {to} {V}
{agent} replaced {X} with {V} as {np}
{agent} replaced {np}, {X}, with {V}
{agent} replaced {np} with {V}
{agent} replaced {np} by {V}
{agent} replaced the {A} {X} of {E} with {V}
{agent} exchanged {X} for {V} as {np}
{agent} crossed out {X} and wrote {V} as {np}
{agent} dropped {X} and {set} {V} as {np}
{agent} gave up {X} and took {V} as {np}
{E} changed {its} {A} {to} {V}
{E} changed {its} {A} from {X} {to} {V}
{E} switched {its} {A} from {X} {to} {V}
{E} moved {its} {A} {to} {V}
{E} swapped {its} {A} {X} for {V}
{E} gave up the {A} {X} and {has} {V} now
{E} no longer {has} {X} as {its} {A} but {V}
{E} no longer {has} the {A} {X} but {V}
{E} {has} {V} as {its} new {A}
{E} {has} a new {A}: {V}
{E} {has} a new {A}, {V}
{E} {has} a new {A} {V}
{E} received the new {A} {V}
{E} got {V} as {its} new {A}
{V} replaced {X} as {np}
{V} has replaced {X} as {np}
{V} took the place of {X} as {np}
{V} succeeded {X} as {np}
{V} is the new {A} of {E}
{V} became {np} after {X}
{V} is now {np}
instead of {X}, {np} is {V}
instead of {X}, {E} {has} {V} as {its} {A}
the new {A} of {E} {be} {V}
the new {A} of {E} is {V}
{E}'s new {A} {be} {V}
the new {A} for {E} {be} {V}
the {A} {X} of {E} {be} {moved} {to} {V}
a correction: {np} {be} {V}, not {X}
correction: {np} {be} {V}
not {X} but {V} is {np}
{np} {be} not {X} but {V}
since {time}, {np} {be} {V}
since then, {np} {be} {V}
as of {time}, {np} {be} {V}
from {time} on, {np} {be} {V}
after {time}, {np} {be} {V}
{now} {np} {be} {V}
"""

# Two sentences or a small block; {nl} is a line break. The entity is named once, the value later.
_PASSAGE = """
{E} {vp}. {Its} {A} {be} {V}
{E} {vp}. {Its} {A} {be} {V}
{E} {be} {adj}. {Its} {A} {be} {V}
{agent} {past} {E}. The {A} {be} {V}
{agent} {past} {E}. {Its} {A} {be} {V}
this is about {E}. The {A} {be} {V}
"what is {np}?" - "{V}," {said} {agent}
"and {np}?" "{V}," {said} {agent}
"{np} {be} {V}," {said} {agent}
"{V}," {said} {agent} when asked about {np}
what is {np}? It is {V}
what is {np}? {V}
"{np}?" {agent} asked. "{V}," {said} {agent}
{agent} {past} about {np}. It {be} {V}
"""

_BLOCK = """
{A}: {V}
{A}: {V}
{A} = {V}
{A} - {V}
- {A}: {V}
* {A}: {V}
{A} .... {V}
"""

_LINE = """
{E}: {A} {V}
{E}: {A}: {V}
{E} - {A}: {V}
{E} - {A} {V}
{E}, {A}: {V}
{E}, {A} {V}
{E} ({A}): {V}
{E} / {A}: {V}
{E} | {A} | {V}
{E} | {A} = {V}
{A} of {E}: {V}
{A} of {E}: {V}
{A} of {E} - {V}
{A} of {E} = {V}
{A} for {E}: {V}
{A}, {E}: {V}
{A} ({E}): {V}
{A} | {E} | {V}
{E}'s {A}: {V}
Q: what is {np}?{nl}A: {V}
question: {np}?{nl}answer: {V}
note: {np} {be} {V}
reminder: {np} {be} {V}
"""

_RULES: dict[str, str] = {
    "state": _STATE,
    "update": _UPDATE,
    "passage": _PASSAGE,
    "block": _BLOCK,
    "line": _LINE,
    "np": """
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
{E}'s {A}
{E}'s {A}
{E}'s {A}
the {A} for {E}
the {A} at {E}
the {A} belonging to {E}
the {A} {pp} for {E}
the {A} {pp} to {E}
the {A} that {E} {has}
the {A} {E} {has}
the {qual} {A} of {E}
the {qual} {A} for {E}
{E}'s {qual} {A}
{E}'s own {A}
the {E} {A}
that {A} of {E}
{E} {A}
""",
    "qual": (
        "current\nactual\npresent\nofficial\nvalid\nlatest\nmost recent\nnew\nfinal\nusual\nwell-known\nregular\n"
        "proper\nregistered\n{adj}\n{pp}"
    ),
    "be": "is\nis\nis\nis\nis\nwas\nwas\nwas\nhas been\nhad been\nremains\nremained\nstays\nstayed",
    "link": """
reads
read
stands at
stood at
stands as
equals
comes to
came to
amounts to
amounted to
runs to
appears as
appeared as
became
becomes
turned out to be
proved to be
proves to be
happens to be
seems to be
must be
means
shows
follows: it is
counts as
goes by
went by
continues to be
lies at
lay at
sits at
settled at
ended up at
reached
says
said
would be
is the same as ever:
as usual is
to this day is
{adverb} became
{adverb} reads
""",
    "vlink": """
became
becomes
remains
serves as
served as
acts as
acted as
stands as
counts as
is known as
was chosen as
is used as
works as
is still
is also
is simply
turned out to be
proved to be
appears as
stands for
marks
denotes
""",
    "adv": (
        "now\ncurrently\nstill\nalways\nalready\nofficially\nat present\nof course\nin fact\nknown to be\n"
        "the following:\nnone other than\njust\nsimply\n{adverb}\n{adverb}"
    ),
    "prep": "as\nas\nas\nto\nto\nat\nat\nas being\nto be\nunder\nwith\non\nby\nfor\nin\nas:",
    "byagent": "by {agent}\nby {agent}\nby {agent}\nin {document}\non {date}\nin {month}\nlast {weektime}",
    "said": (
        "said\nreported\nnoted\nclaimed\nstated\nadded\nexplained\nrepeated\nwrote\nconfirmed\ninsisted\nbelieved\n"
        "assured us\nmentioned\nremarked\nreplied\nanswered\nrecalled\nadmitted\ntold us\n{past}"
    ),
    "to_be": "to be\nto have been\nto remain",
    "has": """
has
has
has
had
had
uses
used
keeps
kept
carries
carried
bears
bore
gives
gave
lists
listed
shows
showed
reports
reported
names
named
holds
held
received
got
chose
picked
took
wants
needs
prefers
preferred
operates with
works with
goes by
runs with
lives with
offers
maintains
stated
announced
declared
registered
{past}
{past}
""",
    "its": "its\nits\nhis\nher\ntheir\nthe\nits own",
    "Its": "Its\nIts\nHis\nHer\nTheir\nThe",
    "set": """
set
set
fixed
put
placed
recorded
noted
entered
listed
registered
chose
picked
named
gave
wrote down
put down
kept
confirmed
announced
stated
reported
remembered
defined
marked
knew
took
approved
quoted
estimated
selected
declared
established
determined
gives
lists
names
knows
quotes
records
{pp}
{pp}
{past}
""",
    "gave": "gave\nassigned\nsent\nhanded\noffered\ngranted\nissued\nawarded\nprovided\nallotted\nlent\n{past}",
    "forto": "for\nfor\nto\nto\nof\nof\nat\nin favour of\non behalf of",
    "belongs": (
        "belongs to\nis for\nis that of\nwas given to\nwas assigned to\ngoes with\ngoes to\nis used by\nrefers to\n"
        "is registered to\nis linked to\nstands for\nmeans\nbelonged to\nwas meant for\nwas {pp} to\nwas {pp} for\n"
        "was {pp} by"
    ),
    "shows": (
        "shows\nshowed\ngives\ngave\nlists\nlisted\nnames\nhas\nhad\nstates\nstated\nrecords\nrecorded\nsays\n"
        "mentions\nmentioned\ncontains\nquotes\nnotes\nconfirms\nconfirmed\nholds\ncarries\n{pp}\n{past}"
    ),
    "verb": (
        "use\nenter\nwrite\ntake\nremember\nnote\nquote\ntype\ngive\nask for\nlook for\ncall\nput down\naccept\n"
        "keep\nread\nsay\ncheck\nverify\nconfirm"
    ),
    "document": """
the register
the ledger
the report
the file
the record
the records
the book
the list
the table
the letter
the contract
the notice
the manual
the sheet
the catalogue
the minutes
the log
the archive
the newspaper
the form
the poster
the plan
the {adj} {noun}
the {noun}
page {int}
section {int}
{person}'s notes
a note
an entry
""",
    "agent": """
the clerk
the manager
the board
the council
the {noun}
the {adj} {noun}
the {noun}
{person}
{first}
{pseudo}
the staff
they
she
he
we
I
someone
everybody
people
{firm}
an official
a {noun}
its members
the owners
the office
""",
    "moved": """
changed
changed
moved
raised
lowered
increased
reduced
renamed
switched
set
reset
updated
altered
corrected
amended
revised
adjusted
turned
converted
transferred
cut
shifted
brought
redefined
extended
shortened
modified
replaced
reassigned
{pp}
""",
    "to": "to\nto\nto\nto\nto\nto\ninto\nto become\nto be\nas\nat",
    "went": (
        "went\nrose\nfell\nclimbed\ndropped\nmoved\nchanged\njumped\nsank\ngrew\npassed\nslid\nturned\nshifted\n"
        "switched\ndeveloped"
    ),
    "change": """
changed
changed
moved
raised
lowered
increased
reduced
renamed
switched
reset
updated
altered
corrected
amended
revised
adjusted
turned
cut
shifted
brought
modified
redefined
has changed
had changed
has moved
has updated
will change
""",
    "formerly": (
        "formerly\npreviously\nonce\nbefore that\nuntil recently\noriginally\nat first\nin the past\nearlier\n"
        "previously known as\nbefore"
    ),
    "now": (
        "now\ntoday\nnowadays\ncurrently\nat present\nthese days\nby now\nmeanwhile\nsince then\nlater\nafterwards\n"
        "finally\nin the end\neventually"
    ),
    "time": """
{month}
{year}
{month} {year}
last {weektime}
the {adj} {noun}
the {noun}
{date}
this {weektime}
the first of {month}
yesterday
the war
the flood
spring
last spring
""",
    "weektime": "week\nmonth\nyear\nsummer\nwinter\nautumn\nspring\nMonday\nTuesday\nFriday\nSunday\n{month}",
    "place_time": (
        "here\nthere\nlast {weektime}\nin {month}\nin {place_name}\nby {agent}\nin {document}\nat the {noun}\non {date}"
    ),
    "aside": (
        "{agent} {said}\nas {agent} {said}\nof course\nit seems\nby the way\nhowever\nfor example\n"
        "as everybody knows\naccording to {agent}\nto be exact\n{adverb}\nin {year}\nat the {noun}\nas {pp}\ntoo"
    ),
    "paren": "see {document}\npage {int}\n{year}\n{pp} in {month}\n{adverb}\nas {pp}\n{noun} {int}\n{adj}",
    "vp": """
{past} the {noun}
{past} a {adj} {noun}
{past} {adverb}
{past} the {adj} {noun} {place_time}
{past} and {past}
{past} {person}
was {adj}
was {adj} and {adj}
was {pp} {place_time}
has a {adj} {noun}
had {int} {noun}s
is {adj} in {month}
{past} in {place_name}
{past} with {person}
{past} to {place_name}
did not {verb} the {noun}
{past} near the {noun}
is {adverb} {adj}
{past} for {int} years
""",
    "clause": """
{agent} {past} the {noun}
{agent} {past} a {adj} {noun}
the {noun} was {adj}
the {adj} {noun} {past} {place_time}
{person} {past} {adverb}
{agent} {past} {person}
nobody {past} it
everybody {past}
the {noun} {past} the {noun}
it was {adj}
it {past} the {noun}
there was {adj} {noun} in the {noun}
{firm} {past} {int} {noun}s
{person} was {adj}
this {past} the {noun}
they {past} it {adverb}
""",
    "intro": """
in {month},
in {year},
in {month} {year},
on {date},
last {weektime},
{adverb},
according to {agent},
according to {document},
in {document},
as {agent} {said},
{agent} {said} that
{agent} {said} that
{agent} {said}:
it is {pp} that
it is known that
it was {pp} that
we know that
everybody knows that
at the {noun},
in the {adj} {noun},
after {time},
before {time},
since {time},
while {clause},
although {clause},
when {clause},
because {clause},
{clause}, and
{clause}, but
{clause}:
{clause};
after the {noun},
by the way,
of course,
in fact,
for the record,
note that
remember that
please note that
and
but
so
also,
moreover,
therefore,
on the other hand,
in {place_name},
with {int} {noun}s,
to this day
here
there
as of {time},
as {pp},
during the {noun},
{agent} {past}, and
these days
""",
    "outro": """
 since {time}
 since {year}
 from {time} on
 until {time}
 in {month}
 on {date}
 at the time
 at the moment
 for now
 again
 today
 now
 too
 as well
 as usual
 to this day
 for {int} years
 and {clause}
 and {clause}
 and {past} {adverb}
 but {clause}
 but {clause}
 because {clause}
 so {clause}
 while {clause}
 when {clause}
 where {clause}
 although {clause}
 after {clause}
 before {clause}
 if {clause}
 or so {agent} {said}
 as {agent} {said}
 according to {agent}
 according to {document}
 with the {noun}
 by the {noun}
 near the {noun}
 this {weektime}
 last {weektime}
 (see {document})
 ({paren})
 [{int}]
, {clause}
, and {clause}
, but {clause}
, {agent} {said}
, as {agent} {said}
, according to {document}
, which {past} the {noun}
, which was {adj}
, a {adj} {noun}
, {adverb}
, not far from the {noun}
, where {clause}
, though {clause}
; {clause}
; {agent} {past} it
: {clause}
 - {clause}
 – {clause}
 — {clause}
... {clause}
""",
}

RULES: dict[str, tuple[str, ...]] = {
    symbol: tuple(line for line in block.strip("\n").split("\n") if line) for symbol, block in _RULES.items()
}
"""Symbol -> its alternatives; an alternative standing twice is twice as likely."""

QUESTIONS = tuple(
    """
What is the {A} of {E}?
What is the {A} of {E}?
What is the {A} of {E}?
What is the {A} of {E}?
What is {E}'s {A}?
What is {E}'s {A}?
What is {E}'s {A}?
Which {A} does {E} have?
Which {A} does {E} have?
What {A} does {E} have?
What is the {cur} {A} of {E}?
What is the {cur} {A} of {E}?
What is {E}'s {cur} {A}?
What is the {A} of {E} now?
What was the {A} of {E}?
What was {E}'s {A}?
What is the {A} for {E}?
What is the {A} at {E}?
What's the {A} of {E}?
What's {E}'s {A}?
Tell me the {A} of {E}.
Tell me {E}'s {A}.
Tell me what the {A} of {E} is.
Please tell me the {cur} {A} of {E}.
Give the {A} of {E}.
Give me the {A} of {E}.
Give me {E}'s {A}.
State the {A} of {E}.
Find the {A} of {E}.
Find {E}'s {cur} {A}.
Look up the {A} of {E}.
Report the {cur} {A} of {E}.
I need the {A} of {E}.
I want to know the {A} of {E}.
Do you know the {A} of {E}?
Do you know {E}'s {A}?
Can you tell me the {A} of {E}?
Can you find {E}'s {A}?
Does the text say what the {A} of {E} is?
According to the text, what is the {A} of {E}?
According to the documents, what is {E}'s {A}?
In the end, what is the {A} of {E}?
For {E}, what is the {A}?
{E}: what is the {A}?
Which {A} is given for {E}?
Which {A} is {pp} for {E}?
What {A} was {pp} for {E}?
Which {A} belongs to {E}?
Which is the {A} of {E}?
The {A} of {E}?
{E}'s {A}?
what is the {A} of {E}
{A} of {E}
""".strip().split("\n")
)
LEADS = (
    "According to the {noun}, {q}", "In the {noun} of {place_name}: {q}", "{q} The {noun} should say.",
    "I am reading the {noun}. {q}", "Look at the {noun}: {q}", "{q} It is for the {noun}.",
)  # fmt: skip
"""Words around a question that are no part of what is asked."""
CURRENT = ("current", "latest", "present", "last", "final", "most recent", "newest", "actual", "new")
WHO = ("Who is the {A} of {E}?", "Who is {E}'s {A}?", "Who was the {A} of {E}?", "Who is the {cur} {A} of {E}?")
WHEN = ("When is the {A} of {E}?", "When is {E}'s {A}?", "When was the {A} of {E}?")

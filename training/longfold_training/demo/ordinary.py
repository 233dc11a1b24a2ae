"""How people ordinarily state a fact and report a change, as rules of the training grammar. Knows nothing of expansion.

Kept apart from `rules`, which says things in every way imaginable: what is written here is plain English, and its
breadth is what carries over to sentences nobody wrote down.
"""

from __future__ import annotations

_STATEMENT = """
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{oplain}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {V}
{onp} {obe} {oadv} {V}
{onp}, {oaside}, {obe} {V}
{onp} in {osource} {obe} {V}
{onp}: {V}
{osayer} {osays} that {onp} {obe} {V}
{osayer} {osays} that {onp} {obe} {V}
{osayer} {osays} {onp} {obe} {V}
{osayer} {osays} that {E} {ohas} {V} as {oits} {A}
{osayer} {osays} that {E} {ohas} {anA} of {V}
{osayer} {osays} that {V} {ois} {onp}
{osayer} {osays} to us that {onp} {obe} {V}
{onp} {obe} {V}, {osayer} {osays}
{onp}, {osayer} {osays}, {obe} {V}
"{onp} {obe} {V}," {osays} {osayer}
"{V} {ois} {onp}," {osays} {osayer}
{osource} {ogives} {V} as {onp}
{osource} {ogives} {V} as {onp}
{osource} {ogives} {onp} as {V}
{osource} {ogives} {onp} as {V}
{osource} {ogives} {onp}: {V}
{osource} {ogives} {onp}, {V}
{osource} {ogives} {V} for {onp}
{osource} {ogives} the {A} {V} for {E}
{osource} {ogives} {anA} of {V} for {E}
{osource} {ogives} {E} with the {A} {V}
{osource} {ogives} {E} with {anA} of {V}
{osource} {osays} that {onp} {obe} {V}
{osource} {osays} that {onp} {obe} {V}
{osource} {osays} that {E} {ohas} the {A} {V}
{osource} {osays} {onp} {obe} {V}
in {osource}, {onp} {obe} {V}
in {osource}, {E} {oislisted} {owith} the {A} {V}
in {osource}, {V} {oislisted} as {onp}
according to {osource}, {onp} {obe} {V}
according to {osayer}, {onp} {obe} {V}
{E} {ohas} {V} as {oits} {A}
{E} {ohas} {V} as {oits} {A}
{E} {ohas} {V} for {oits} {A}
{E} {ohas} {anA} of {V}
{E} {ohas} {anA} of {V}
{E} {ohas} the {A} {V}
{E} {ohas} the {A} {V}
{E} {ohas} the {A}: {V}
{E} {oislisted} {owith} the {A} {V}
{E} {oislisted} {owith} {anA} of {V}
{E} {ogotten} the {A} {V}
{E} {ogotten} {V} as {oits} {A}
{E} {ogotten} {anA} of {V}
{E} {oset} {V} as {oits} {A}
{E} {oset} {oits} {A} {oat} {V}
{E} had always had {V} as {oits} {A}
{E} has had the {A} {V} {osince}
{E} has had {anA} of {V} {osince}
{E} is known for {oits} {A}, {V}
{E} is known by {oits} {A}, {V}
{V} {ois} {onp}
{V} {ois} {onp}
{V} {ois} {onp}
{V} {ois} the {A} which {E} {ouses}
{V} {oischosen} {onp}
{V} {oischosen} {onp}
{V} {oischosen} the {A} for {E}
{V} {ois} what {E} {ouses} as {oits} {A}
{V}, {onp}, {ois} {oknown}
{osayer} {oset} {onp} {oat} {V}
{osayer} {oset} {onp} {oat} {V}
{osayer} {oset} {onp} as {V}
{osayer} {oset} {V} as {onp}
{osayer} {oset} {V} as {onp}
{osayer} {oset} {V} as the {A} for {E}
{osayer} {oset} {E} with the {A} {V}
{osayer} {ogave} {E} the {A} {V}
{osayer} {ogave} {E} {V} as {oits} {A}
{osayer} {ogave} {V} to {E} as {oits} {A}
{osayer} {ogave} the {A} {V} to {E}
{osayer} {oknows} {onp}: {V}
{osayer} {oknows} {onp}, {V}
{osayer} {oknows} {onp}, which {obe} {V}
{osayer} {oknows} {onp}, and it {obe} {V}
{osayer} {oknows} the {A} {V} of {E}
{osayer} {oknows} {E} by {oits} {A}, {V}
{osayer} asked for {onp}, and {osayer} {osays} {V}
{osayer} asked about {onp} and heard that it {obe} {V}
{osayer} was told that {onp} {obe} {V}
{osayer} {owrote} {V} {owhere} for {onp}
{osayer} {owrote} {V} as {onp}
{osayer} {owrote} that {onp} {obe} {V}
{E}, whose {A} {obe} {V}, {ovp}
{E}, whose {A} {obe} {V}, {ovp}
{E}, with {anA} of {V}, {ovp}
{E}, with {V} as {oits} {A}, {ovp}
{E}, which has {anA} of {V}, {ovp}
{E}, {A} {V}, {ovp}
{E} ({A} {V}) {ovp}
{E} ({A}: {V}) {ovp}
{E}, {ovp0}, {ohas} {V} as {oits} {A}
{E}, {ovp0}, {ohas} {anA} of {V}
{onp}, {V}, {oshown}
{onp} ({V}) {oshown}
{onp}, which {obe} {V}, {oshown}
{onp} - {V} - {oshown}
the {A} {V} {obelongs} {E}
the {A} {V} {obelongs} {E}
the {A} {obelongs} {E} {obe} {V}
the {A} which {E} {ouses} {obe} {V}
the {A} that {osayer} {ogave} {E} {obe} {V}
{ouse} {V} as {onp}
{ouse} {V} as the {A} for {E}
{ouse} {V} for {onp}
{ouse} the {A} {V} {ofor} {E}
{ouse} the {A} of {E}: {V}
{owhen} {E}, {ouse} the {A} {V}
{owhen} {E}, {ouse} {V} as the {A}
{owhen} {E}, you need the {A} {V}
{owhen} {E} you will need {oits} {A}, {V}
{owhen} {E} you will see that the {A} {obe} {V}
if anyone asks for {onp}, {ouse} {V}
if you need {onp}, it {obe} {V}
if you want to know {onp}: it {obe} {V}
anyone who asks for {onp} will hear {V}
you will find that {onp} {obe} {V}
{E} can be {oreached} under the {A} {V}
for {E}, the {A} {obe} {V}
for {E} the {A} {obe} {V}
for {E}, {osayer} {oset} {V} as the {A}
for {E}, {V} {oischosen} the {A}
as for {E}, {oits} {A} {obe} {V}
in the case of {E}, the {A} {obe} {V}
at {E}, the {A} {obe} {V}
at {E} {osayer} {ouses} {V} as the {A}
on {E}, the {A} {obe} {V}
what {E} {ohas} as {oits} {A} {obe} {V}
there {ois} {anA} of {V} for {E}
there {ois} only one {A} for {E}: {V}
it {ois} {V} that {E} {ouses} as {oits} {A}
it {obe} {oagreed} that {onp} {obe} {V}
it {obe} {oagreed} that {E} {ohas} the {A} {V}
{E} {ovp}, and {oits} {A} {obe} {V}
{E} {ovp}; {oits} {A} {obe} {V}
{E} {ovp} and {ohas} {V} as {oits} {A}
{E} {ovp} under the {A} {V}
{E} {ovp} with {anA} of {V}
{E} {ovp}. {Oits} {A} {obe} {V}
{E} {ovp}. {Oits} {A}, {osayer} {osays}, {obe} {V}
{E} {ovp}. The {A} {obe} {V}
{osayer} {oknows} {E}. {Oits} {A} {obe} {V}
{osayer} {oknows} {E}. The {A} {obe} {V}
{osayer} {oknows} {onp}. It {obe} {V}
{osayer} asked about {onp}. The answer was {V}
{osayer} asked about {onp}. It {obe} {V}, {osayer} {osays}
{onp}? {V}
{onp}? It {obe} {V}
what is {onp}? {V}
"what is {onp}?" "{V}," {osays} {osayer}
"which {A} does {E} have?" "{V}," {osays} {osayer}
{E} - {A}: {V}
{E}: {A} {V}
{E}, {A}: {V}
{A} of {E}: {V}
{A} of {E} - {V}
{A} ({E}): {V}
{A} for {E}: {V}
"""

_CHANGE = """
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{oplainchange}
{onp} {ohasbeen} {omoved} to {V}
{onp} {ohasbeen} {omoved} to {V}
{onp} {ohasbeen} {omoved} to {V}
{onp} {ohasbeen} {omoved} from {X} to {V}
{onp} {ohasbeen} {omoved} from {X} to {V}
{onp} {ohasbeen} {omoved} {obyagent} to {V}
{onp} {ohasbeen} {omoved} {obyagent} from {X} to {V}
{onp} {ohasbeen} {omoved} and {ois} now {V}
{onp} {owent} to {V}
{onp} {owent} from {X} to {V}
{onp} {ohasbeen} replaced by {V}
{onp}, {X}, {ohasbeen} replaced by {V}
{onp}, {oformerly} {X}, {ois} now {V}
{onp}, {oformerly} {X}, {ohasbeen} {omoved} to {V}
{onp} {ois} {onow} {V}
{onp} {ois} {onow} {V}
{onp} {ois} {onow} {V}
{onp} {ois} {V} now
{onp} {ois} {V} now, not {X}
{onp} {ois} {V} instead of {X}
{onp} {ois} {V}, no longer {X}
{onp} {ois} no longer {X} but {V}
{onp} {ois} no longer {X}; it {obe} {V}
{onp} {ois} not {X} any more but {V}
{onp} used to be {X} but {ois} {onow} {V}
{onp} used to be {X}; {onow} it {obe} {V}
{onp} was {X} until {otime} and {ois} {V} now
{onp} was {X} before and {ois} {V} today
{onp} was {X} at first, then {V}
{onp} had been {X} before it became {V}
{onp} became {V}
{onp} has become {V}
{onp} will be {V} {ofromnow}
{onp} was {X}, but {osayer} {ochanged} it to {V}
{onp} was {X}. {Onow} it {obe} {V}
{onp} was {X}. It {ohasbeen} {omoved} to {V}
the {onew} {A} of {E} {obe} {V}
the {onew} {A} of {E} {obe} {V}
the {onew} {A} of {E} {obe} {V}
the {onew} {A} for {E} {obe} {V}
the {onew} {A} of {E}, {V}, {oshown}
{E}'s {onew} {A} {obe} {V}
{E}'s {onew} {A} {obe} {V}
the {A} {X} of {E} {ohasbeen} {omoved} to {V}
the {A} {X} {ohasbeen} replaced by {V} at {E}
{osayer} {ochanged} {onp} to {V}
{osayer} {ochanged} {onp} to {V}
{osayer} {ochanged} {onp} from {X} to {V}
{osayer} {ochanged} {onp} from {X} to {V}
{osayer} replaced {X} with {V} as {onp}
{osayer} replaced {onp}, {X}, with {V}
{osayer} replaced {onp} with {V}
{osayer} {ogave} {E} the {onew} {A} {V}
{osayer} {ogave} {E} {V} as {oits} {onew} {A}
{osayer} {ogave} {E} another {A}: {V}
{osayer} {odecided} to change {onp} to {V}
{osayer} {odecided} to change {onp} from {X} to {V}
{osayer} {odecided} that {onp} would {onow} be {V}
{osayer} {odecided} that {onp} should become {V}
{osayer} {odecided} on {V} as the {onew} {A} of {E}
{osayer} {osays} that {onp} {ois} {onow} {V}
{osayer} {osays} that {onp} {ohasbeen} {omoved} to {V}
{osayer} {osays} that {onp} {ohasbeen} {omoved} from {X} to {V}
{osayer} {osays} that {E} {onow} {ohas} {V} as {oits} {A}
{osource} {onow} {ogives} {V} as {onp}
{osource} {ogives} {V} as the {onew} {A} of {E}
{osource} {ogives} {V} instead of {X} as {onp}
{osource} {osays} that {onp} {ois} {onow} {V}
{osource} {osays} that {onp} {ohasbeen} {omoved} to {V}
{E} {ochanged} {oits} {A} to {V}
{E} {ochanged} {oits} {A} to {V}
{E} {ochanged} {oits} {A} from {X} to {V}
{E} {ochanged} {oits} {A} from {X} to {V}
{E} {onow} {ohas} {V} as {oits} {A}
{E} {onow} {ohas} the {A} {V}
{E} {onow} {ohas} {anA} of {V}
{E} {ogotten} {V} as {oits} {onew} {A}
{E} {ogotten} the {onew} {A} {V}
{E} {ogotten} a new {A}, {V}
{E} has a new {A}: {V}
{E} has a new {A}, {V}
{E} dropped {X} and {ouses} {V} as {oits} {A}
{E} gave up the {A} {X} and {ohas} {V} {onow}
{E} no longer has the {A} {X} but {V}
{E} no longer {ouses} {X} as {oits} {A} but {V}
{E} replaced {oits} {A} {X} with {V}
{E} {ovp}, and {oits} {A} {ohasbeen} {omoved} to {V}
{E} {ovp}. {Oits} {A} {ois} {onow} {V}
{V} replaced {X} as {onp}
{V} has replaced {X} as {onp}
{V} took the place of {X} as {onp}
{V} {ois} {onow} {onp}
{V} {ois} the {onew} {A} of {E}
{V} became {onp}
{V} became {onp} after {X}
{V} has been {onp} {osince}
instead of {X}, {E} {ohas} {V} as {oits} {A}
instead of {X}, {osayer} {oset} {V} as {onp}
not {X} but {V} {ois} {onp}
for {E}, the {A} {ohasbeen} {omoved} to {V}
for {E}, the {onew} {A} {obe} {V}
at {E}, the {A} {ohasbeen} {omoved} to {V}
correction: {onp} {obe} {V}
correction: {onp} {obe} {V}, not {X}
{E}: {onew} {A} {V}
{onew} {A} of {E}: {V}
"""

_WHEN = """
in {month},
in {month}
in {year},
in {year}
in {month} {year},
on {date},
last {oweek},
this {oweek},
next {oweek},
one {oday},
that {oweek},
every {oday},
at the time,
at first,
today,
today
yesterday,
now
nowadays,
currently,
{int} {oday}s later,
{int} {oday}s ago,
a {oweek} later,
a little later,
some time ago,
years ago,
back then,
until then,
by {month},
by then,
before {otime},
after {otime},
during {otime},
throughout {year},
for many years,
for {int} years,
to this day
at the beginning of the {oweek},
at the end of {month},
in the middle of {month},
when {oclause},
while {oclause},
after {oclause},
before {oclause},
"""

_ASIDE = """
in fact,
of course,
of course
by the way,
for the record,
as everyone knows,
as you know,
officially,
apparently,
however,
besides,
also,
also
moreover,
to be exact,
strictly speaking,
for example,
incidentally,
naturally,
as far as we know,
as it happens,
first of all,
finally,
in short,
in other words,
on paper,
in practice,
in general,
in this case,
in {place_name},
at the {oplace},
from what {osayer} {osays},
as {osayer} {osays},
as {osource} {osays},
according to {osource},
according to {osayer},
in {osource},
on page {int},
in section {int},
{oclause}, and
{oclause}, and
{oclause}, but
{oclause}, so
{oclause}, since
{oclause}, because
{oclause};
{oclause}:
{osayer} {osays}:
{osayer} {osays} that
note that
please note that
remember that
we know that
it is true that
it is clear that
it is well known that
there is no doubt that
although {oclause},
because {oclause},
since {oclause},
if {oclause},
and
but
so
note:
reminder:
"""

_NEWS = """
since then
since then,
since then,
since {otime},
since {otime}
as of {otime},
as of {otime}
from {otime} on,
from {otime} onwards,
starting in {month},
effective {date},
from now on,
after that,
after the {oevent},
after the {oevent}
because of the {oevent},
with the {oevent},
at the {oevent},
during the {oevent},
following a {oevent},
in the course of the {oevent},
later,
later on,
later that {oweek},
soon afterwards,
shortly afterwards,
afterwards,
meanwhile,
in the meantime,
in the end,
eventually,
finally,
recently,
once again,
then,
then
now
only {int} {oday}s later,
a few {oday}s later,
the following {oweek},
a {oweek} after that,
the {oweek} after,
for this reason,
surprisingly,
against expectations,
to everyone's surprise,
it was decided that
it was announced that
we were told that
the news is that
there has been a change:
there is news:
update:
"""

_OUTRO = """
 in {month}
 in {year}
 on {date}
 since {otime}
 until {otime}
 today
 now
 again
 too
 as well
 as usual
 at the time
 at present
 for now
 to this day
 for {int} years
 this {oweek}
 last {oweek}
 at the {oplace}
 in {place_name}
 and {oclause}
 and {oclause}
 but {oclause}
 because {oclause}
 so {oclause}
 while {oclause}
 when {oclause}
 although {oclause}
 after {oclause}
 before {oclause}
 if {oclause}
 according to {osource}
 according to {osayer}
 as {osayer} {osays}
 after the {oevent}
 without exception
 by the way
 (see {osource})
 (page {int})
 (as of {year})
 ({month})
, {oclause}
, and {oclause}
, but {oclause}
, so {oclause}
, as {osayer} {osays}
, {osayer} {osays}
, according to {osource}
, which {osayer} {oknows}
, which was a surprise
, which is {adj}
, though {oclause}
, of course
, as everyone knows
; {oclause}
; {oclause}
: {oclause}
 - {oclause}
"""

_RULES: dict[str, str] = {
    "statement": _STATEMENT,
    "change": _CHANGE,
    "lead": _WHEN + _ASIDE.lstrip("\n"),
    "newslead": _NEWS + _NEWS.lstrip("\n") + _WHEN.lstrip("\n"),
    "tail": _OUTRO,
    "oplain": """
the {A} of {E} is {V}
the {A} of {E} is {V}
the {A} of {E} is {V}
the {A} of {E} was {V}
{E}'s {A} is {V}
{E}'s {A} was {V}
{E} has {anA} of {V}
{E} has the {A} {V}
{V} is the {A} of {E}
{V} was the {A} of {E}
the {A} for {E} is {V}
the {A} of {E} has been {V}
""",
    "oplainchange": """
the {A} of {E} was changed to {V}
the {A} of {E} was changed from {X} to {V}
the {A} of {E} has been changed to {V}
the {A} of {E} has changed from {X} to {V}
the {A} of {E} is now {V}
{E}'s {A} is now {V}
{E}'s {A} was changed to {V}
the new {A} of {E} is {V}
{E} changed its {A} to {V}
""",
    "onp": """
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
{E}'s {A}
{E}'s {A}
{E}'s {A}
{E}'s {A}
the {A} for {E}
the {A} for {E}
the {A} at {E}
the {A} given to {E}
the {A} assigned to {E}
the {A} belonging to {E}
the {A} used by {E}
the {A} used for {E}
the {A} kept by {E}
the {A} {E} {ouses}
the {A} that {E} {ouses}
the {oqual} {A} of {E}
the {oqual} {A} of {E}
the {oqual} {A} for {E}
{E}'s {oqual} {A}
{E}'s own {A}
""",
    "oqual": """
current
current
actual
present
official
official
valid
latest
most recent
final
usual
regular
proper
registered
exact
correct
full
real
recorded
public
stated
intended
""",
    "obe": """
is
is
is
is
is
is
is
is
was
was
was
was
was
has been
had been
will be
would be
is still
was still
is always
has always been
had always been
is simply
is just
is indeed
is really
is currently
was officially
is usually
should be
must be
may be
seems to be
seemed to be
is known to be
is said to be
was said to be
is thought to be
was found to be
is believed to be
is supposed to be
turned out to be
proved to be
remains
remained
stays
became
is given as
was given as
is listed as
was listed as
is recorded as
was recorded as
was noted as
is shown as
was entered as
was registered as
was reported as
was announced as
is described as
was described as
was quoted as
is printed as
is written as
was put down as
is known as
appears as
is set to
was set to
was set at
is fixed at
was fixed at
stands at
stood at
comes to
came to
amounts to
reads
read
is called
is the following:
is as follows:
is defined as
was confirmed as
was chosen to be
lies at
lay at
equals
""",
    "ois": """
is
is
is
was
was
will be
has been
remains
would be
is still
is simply
""",
    "oadv": """
now
still
exactly
precisely
simply
just
only
about
clearly
in fact
of course
already
always
""",
    "oaside": """
of course
in fact
by the way
it seems
as {osayer} {osays}
as everyone knows
according to {osource}
according to {osayer}
however
as far as we know
for example
at least on paper
as we know
as usual
as agreed
to be exact
it is true
""",
    "osayer": """
{person}
{person}
{person}
{person}
{first}
{first}
the {orole}
the {orole}
the {orole}
the {orole}
the {orole}
the {orole}
the {orole} of {E}
a {orole}
a {orole}
the {adj} {orole}
one {orole}
our {orole}
my {orole}
her {orole}
his {orole}
the {orole}s
two {orole}s
most {orole}s
the {orole} {person}
{person}, the {orole},
the {orole} and the {orole}
the {orole} at the {oplace}
the people at the {oplace}
the people of {E}
someone at {E}
nobody but the {orole}
they
she
he
we
I
someone
everyone
people
{firm}
{place_name}
""",
    "orole": """
manager
clerk
secretary
director
teacher
engineer
inspector
guide
doctor
nurse
captain
editor
reporter
librarian
owner
neighbour
visitor
guest
colleague
friend
cousin
sister
brother
uncle
aunt
student
pupil
lawyer
judge
witness
mayor
council
board
committee
office
staff
crew
team
porter
driver
officer
guard
mechanic
gardener
cook
baker
farmer
fisherman
merchant
customer
accountant
auditor
historian
researcher
scientist
curator
minister
speaker
chairman
treasurer
deputy
assistant
expert
agency
authority
ministry
department
school
museum
bank
company
union
club
family
villager
traveller
sailor
soldier
nobleman
priest
tenant
builder
architect
operator
technician
volunteer
member
caller
old man
young woman
spokesman
interviewer
author
""",
    "osays": """
said
said
said
says
says
told us
told me
reported
reports
stated
states
noted
notes
confirmed
confirms
mentioned
mentions
explained
explains
added
announced
claimed
claims
repeated
wrote
writes
believed
believes
remembered
recalled
admitted
pointed out
informed us
assured us
promised
insisted
replied
answered
thought
thinks
knew
knows
found
discovered
learned
heard
saw
showed
shows
declared
agreed
agrees
let us know
maintained
revealed
suggested
replied
observed
remarked
""",
    "osource": """
the {odoc}
the {odoc}
the {odoc}
the {odoc}
the {odoc}
the {odoc}
the {odoc}
a {odoc}
a {odoc}
an old {odoc}
a recent {odoc}
another {odoc}
one {odoc}
every {odoc}
each {odoc}
this {odoc}
our {odoc}
my {odoc}
his {odoc}
her {odoc}
their {odoc}
the {adj} {odoc}
the last {odoc}
the official {odoc}
the {odoc} of {month}
the {odoc} for {year}
the {odoc} from {place_name}
the {odoc} of the {orole}
the {odoc} of {E}
the {odoc} about {E}
a {odoc} about {E}
the {odoc} at the {oplace}
the {odoc} in the {oplace}
the {odoc} on the {oplace}
the {odoc} on page {int}
{person}'s {odoc}
{person}'s {odoc}
the {orole}'s {odoc}
page {int}
section {int}
page {int} of the {odoc}
the {odoc}s
the {odoc}s of {place_name}
the {noun}
the {adj} {noun}
""",
    "odoc": """
report
report
register
letter
notice
newspaper
poster
website
leaflet
brochure
catalogue
form
card
log
logbook
diary
journal
memo
record
ledger
directory
article
e-mail
message
plaque
sign
sticker
label
list
table
invoice
ticket
manual
guide
guidebook
announcement
survey
plan
map
certificate
file
note
notebook
entry
index
booklet
statement
bulletin
receipt
timetable
contract
agreement
questionnaire
application
minute
summary
archive
chronicle
almanac
inventory
screen
display
board
blackboard
envelope
parcel
passport
badge
chart
drawing
photograph
book
chapter
appendix
footnote
dossier
handbook
programme
schedule
database
page
profile
document
paper
review
speech
interview
broadcast
column
advertisement
calendar
inscription
transcript
""",
    "ogives": """
gives
gives
gives
gave
gave
lists
lists
listed
shows
shows
showed
names
named
records
recorded
mentions
mentioned
states
stated
quotes
quoted
cites
notes
noted
prints
printed
contains
contained
includes
has
had
puts down
reports
reported
displays
displayed
bears
carries
describes
described
specifies
specified
confirms
confirmed
marks
marked
offers
presents
enters
registered
""",
    "ohas": """
has
has
has
has
had
had
uses
uses
used
keeps
kept
holds
held
carries
carried
bears
bore
lists
listed
gives
gave
shows
showed
names
named
reports
reported
states
stated
claims
claimed
prefers
preferred
chose
chooses
picked
selected
took
takes
received
got
gets
adopted
adopts
announced
offers
offered
maintains
operates with
works with
goes by
runs with
boasts
enjoys
registered
declared
recorded
quoted
wants
needs
requires
gained
achieved
reached
displays
""",
    "ouses": """
has
has
had
uses
uses
used
keeps
kept
holds
gave
chose
picked
reported
stated
received
needs
""",
    "oits": """
its
its
its
its
its
his
her
their
the
""",
    "Oits": """
Its
Its
Its
His
Her
Their
The
""",
    "oislisted": """
is listed
was listed
is registered
was registered
is recorded
was recorded
is known
was known
is shown
was shown
is described
was described
is mentioned
is entered
was entered
appears
appeared
is found
can be found
opened
started
operates
is run
was sold
was built
was marked
is filed
was announced
was introduced
""",
    "owith": """
with
with
under
by
as having
as having had
""",
    "ogotten": """
was given
was given
is given
was assigned
was allotted
received
has received
got
gets
was granted
was awarded
has been given
had been given
will be given
obtained
was offered
accepted
took
has taken
took on
""",
    "oset": """
set
set
fixed
put
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
described
defined
marked
approved
quoted
estimated
selected
declared
established
determined
suggested
proposed
accepted
published
printed
filed
wanted
left
read out
looked up
copied
saved
shows
gives
lists
names
quotes
has recorded
has entered
has chosen
had set
had given
""",
    "oat": """
at
at
to
to
as
to be
""",
    "ogave": """
gave
gave
assigned
sent
handed
offered
granted
issued
awarded
provided
allotted
gives
has given
had given
lent
proposed
brought
""",
    "oischosen": """
was chosen as
was named as
was given as
is given as
is listed as
was listed as
was recorded as
is recorded as
is known as
is used as
was used as
was registered as
is registered as
was announced as
is regarded as
was entered as
is entered as
was selected as
was confirmed as
was set as
was put down as
has been
has always been
was picked as
serves as
served as
acts as
became
becomes
remains
remained
is also
is now recorded as
was written down as
was accepted as
was approved as
stands as
counts as
is described as
is shown as
appears as
must be
seems to be
turned out to be
is said to be
was known as
""",
    "oknows": """
knows
knew
remembers
remembered
forgot
learned
found
found out
looked up
checked
asked for
confirmed
published
announced
mentioned
wrote down
noted
recorded
read
read out
copied
wanted to know
discovered
repeated
gave us
told us
sent us
showed us
found on the {oplace}
has
had
needed
discussed
described
explained
talked about
was looking for
""",
    "owrote": """
wrote
wrote down
put
entered
typed
noted
filled in
pencilled in
put down
recorded
stamped
""",
    "owhere": """
on the {odoc}
in the {odoc}
at the top
in the margin
on page {int}
on the first line
below
in ink
""",
    "oknown": """
known to everyone
well known
printed on the {odoc}
on the {odoc}
easy to remember
no secret
written on the {oplace}
mentioned in the {odoc}
not surprising
""",
    "oshown": """
is on the {odoc}
is in the {odoc}
was in the {odoc}
was on the {odoc}
is known to everyone
is well known
was announced {oday0}
was printed on the {odoc}
is written on the {oplace}
was mentioned {oday0}
was confirmed by {osayer}
was discussed {oday0}
surprised {osayer}
did not surprise {osayer}
is no secret
is {adj}
was {adj}
has not changed
can be found in the {odoc}
is easy to remember
was read out by {osayer}
was never {pp}
is in section {int}
""",
    "obelongs": """
belongs to
belongs to
is for
is that of
was given to
was assigned to
goes with
is used by
was used by
refers to
is registered to
is linked to
stands for
belonged to
was meant for
was kept by
was allotted to
is valid for
applies to
leads to
was chosen by
was chosen for
""",
    "ouse": """
use
use
enter
please use
please enter
write
please quote
quote
take
note
remember
note down
write down
type
please type
give
put down
keep in mind
please remember
you should use
you can use
you must give
always use
do not forget
""",
    "ofor": """
for
to reach
to enter
to contact
for visiting
to find
at
to open
with
when you call
""",
    "owhen": """
when you visit
when you reach
when you write to
when you call
when asking for
when looking for
before you visit
before entering
if you visit
if you call
if you are looking for
to reach
to find
to contact
to visit
once you are at
whenever you deal with
for letters to
for questions about
""",
    "oreached": """
reached
found
contacted
looked up
identified
ordered
recognised
""",
    "oagreed": """
agreed
said
known
well known
announced
decided
believed
reported
thought
assumed
written
clear
certain
recorded
confirmed
required
""",
    "ovp": """
opened in {year}
was founded in {year}
was built in {year}
was mentioned {oday0}
was in the news {oday0}
is well known
is on the {odoc}
did not answer
was closed {oday0}
opened again {oday0}
lies near {place_name}
is near the {oplace}
was visited by {person}
was {adj}
is {adj}
is {adj} and {adj}
has a {adj} {noun}
has {int} {noun}s
has many friends in {place_name}
came from {place_name}
moved to {place_name}
works with {person}
met {person} {oday0}
wrote to {person}
celebrated its birthday {oday0}
was the first on the list
arrived {oday0}
left {oday0}
was late
started {oday0}
is part of {firm}
belongs to {firm}
was registered {oday0}
joined in {year}
applied {oday0}
took part
won a prize
was discussed at the {oplace}
bought a {noun}
sold the {noun}
was inspected {oday0}
was repaired {oday0}
is often mixed up with {pseudo}
needs a new {noun}
{past} the {noun}
{past} the {adj} {noun}
{past} {person}
{past} and {past}
""",
    "ovp0": """
founded in {year}
opened in {year}
built in {year}
mentioned {oday0}
well known in {place_name}
run by {person}
owned by {firm}
near the {oplace}
once part of {firm}
the first on the list
formerly of {place_name}
the pride of {place_name}
like many others
unlike {pseudo}
a {adj} {noun}
""",
    "oclause": """
{osayer} {past} the {noun}
{osayer} {past} the {adj} {noun}
{person} {past} a {adj} {noun}
{person} was {adj}
{person} arrived {oday0}
{person} left for {place_name}
{person} was on holiday
the {orole} {past} the {noun}
the {orole} was {adj}
the {orole} did not know
the {orole} was late
the {noun} was {adj}
the {noun} was {pp}
the {adj} {noun} was {pp}
it was {adj}
it was late
it was raining
it {past} the {noun}
nobody noticed
nobody knew why
nobody was surprised
everyone was happy
everyone agreed
everybody {past}
they {past} it
they had {int} {noun}s
we had no time
we were {adj}
we moved to {place_name}
I was {adj}
{firm} {past} {int} {noun}s
the door was open
the matter was closed
the rest is in the {odoc}
there was a {noun} on the {oplace}
there was no {noun}
this was {adj}
that was all
that is enough
things had changed
work began {oday0}
the meeting was over
the {odoc} was late
the {odoc} was lost
the numbers were checked
""",
    "oday0": """
last {oweek}
this {oweek}
yesterday
today
in {month}
in {year}
on {date}
at the {oplace}
again
later
early
for the first time
twice
in {place_name}
""",
    "oweek": """
week
week
month
month
year
year
summer
winter
autumn
spring
Monday
Tuesday
Wednesday
Thursday
Friday
Saturday
Sunday
day
morning
evening
{month}
season
term
quarter
decade
""",
    "oday": """
day
day
week
week
month
month
year
hour
minute
evening
morning
summer
winter
""",
    "osince": """
since {month}
since {year}
since {otime}
for years
for {int} years
from the start
ever since
for a long time
as long as anyone remembers
for {int} {oday}s
""",
    "otime": """
{month}
{month}
{year}
{year}
{month} {year}
{date}
last {oweek}
this {oweek}
the {oevent}
the {oevent}
the first of {month}
yesterday
the war
the flood
the summer
the winter
spring
the end of {month}
the beginning of the {oweek}
that day
""",
    "oevent": """
meeting
inspection
move
merger
election
fire
storm
festival
holidays
reform
audit
change of management
visit
opening
accident
renovation
inquiry
harvest
vote
ceremony
conference
strike
sale
takeover
reorganisation
dispute
trial
upgrade
campaign
""",
    "oplace": """
door
gate
wall
entrance
office
desk
station
harbour
library
market
meeting
conference
museum
counter
factory
school
town hall
back
front
cover
lid
roof
side
first page
last page
window
""",
    "ohasbeen": """
was
was
was
has been
has been
has since been
had been
will be
is being
was later
was then
was recently
was finally
was officially
has now been
has recently been
has meanwhile been
has just been
was suddenly
was quietly
""",
    "omoved": """
changed
changed
changed
changed
moved
raised
lowered
increased
reduced
set
reset
updated
updated
altered
corrected
revised
amended
adjusted
modified
switched
turned
cut
brought
renamed
shifted
extended
transferred
upgraded
""",
    "obyagent": """
by {osayer}
by {osayer}
in {month}
in {year}
last {oweek}
on {date}
after the {oevent}
again
""",
    "owent": """
went
rose
fell
climbed
dropped
moved
changed
jumped
sank
grew
has changed
has moved
has gone
has risen
has fallen
switched
went back
""",
    "oformerly": """
formerly
previously
once
until recently
originally
at first
earlier
until {otime}
before the {oevent}
for years
""",
    "onow": """
now
now
now
now
today
nowadays
currently
at present
these days
from now on
by now
since {otime}
""",
    "Onow": """
Now
Today
Nowadays
Currently
These days
Meanwhile
Since then
Later
Afterwards
Finally
In the end
""",
    "ofromnow": """
from now on
from {month} on
from {otime} on
as of {otime}
in future
starting in {month}
from then on
""",
    "onew": """
new
new
new
new
latest
revised
updated
corrected
current
present
most recent
amended
changed
improved
final
valid
newest
""",
    "ochanged": """
changed
changed
changed
changed
has changed
has changed
had changed
will change
moved
raised
lowered
increased
reduced
reset
set
updated
has updated
altered
corrected
has corrected
revised
amended
adjusted
modified
switched
cut
turned
brought
has raised
has lowered
has moved
""",
    "odecided": """
decided
decided
agreed
voted
planned
proposed
settled
chose
has decided
has agreed
wanted
""",
}


def _alternatives(block: str) -> tuple[str, ...]:
    return tuple(line for line in block.strip("\n").split("\n") if line)


ORDINARY: dict[str, tuple[str, ...]] = {symbol: _alternatives(block) for symbol, block in _RULES.items()}
"""Symbol -> its alternatives, as in `rules.RULES`; "statement" and "change" are sentences, "lead", "newslead" and
"tail" go before and behind them."""

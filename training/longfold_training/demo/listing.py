"""How people state that something belongs to a collection, and ask for all of it or for its number, as rules of the
training grammar. Knows nothing of expansion.

{A} is what the things are in the plural ("passengers"), {A1} in the singular, {anA1} with its article; {E} the thing
that has them; {V} an item, {V2} a second one. {Vs} is one item or two.
"""

from __future__ import annotations

_ITEM = """
{V} {lis} {lone}
{V} {lis} {lone}
{V} {lis} {lone}
{V} {lis} {lone}
{V} {lis} {lone}
{V} {lis} {lone}
{lone} {lis} {V}
{lone} {lis} {V}
{lone} {lis} {V}
{lone} {lis} {V}
{lone} {lcalled} {V}
{V} {lbecame} {lone}
{V} {lbecame} {lone}
{V} {lcame} to {E} as {lmore} {A1}
{V} {lcame} to {E} as {anA1}
{V} {lserved} {E} as {lmore} {A1}
{V} {lserved} {E} as {anA1}
{V}, {lone}, {ovp}
{V}, {lone}, {ovp}
{V}, {lone}, {oshown}
{V} ({lone}) {ovp}
{lone}, {V}, {ovp}
{lone}, {V}, {ovp}
{lone}, {V}, {oshown}
{lone} ({V}) {ovp}
{lone}: {V}
{E} {lhas} {V} as {anA1}
{E} {lhas} {V} as {lmore} {A1}
{E} {lhas} {lmore} {A1}, {V}
{E} {lhas} {lmore} {A1}: {V}
{E} {lhas} {anA1}, {V}
{E} {lhas} {anA1} {lcalled0} {V}
{E} {lgot} {lmore} {A1}, {V}
{E} {lgot} {lmore} {A1}: {V}
{E} {lgot} {V} as {lmore} {A1}
{E} {lgot} {V} as {anA1}
{E}, with {V} as {lmore} {A1}, {ovp}
{E}, where {V} {lis} {anA1}, {ovp}
{E} {ovp} with {V}, {lone}
with {V}, {E} {lhas} {lmore} {A1}
{osayer} {osays} that {V} {lis} {lone}
{osayer} {osays} that {V} {lis} {lone}
{osayer} {osays} that {lone} {lis} {V}
{osayer} {osays} that {E} {lhas} {lmore} {A1}, {V}
{osayer} {osays} that {E} {lgot} {V} as {anA1}
"{V} {lis} {lone}," {osays} {osayer}
"{lone} {lis} {V}," {osays} {osayer}
{osayer} {lmet} {V}, {lone}
{osayer} {lmet} {V}, {lone}
{osayer} {lmet} {lone}, {V}
{osayer} {lmet} {V} and knew that it {lis} {anA1} of {E}
{osayer} asked about {V}, {lone}
{osayer} {past} {V}, {lone}
{osayer} {past} the {noun} with {V}, {lone}
{osource} {ogives} {V} as {lone}
{osource} {ogives} {V} as {lone}
{osource} {ogives} {lone}: {V}
{osource} {ogives} {lone}, {V}
{osource} {osays} that {V} {lis} {lone}
{osource} {ogives} {V}, {lone}
according to {osource}, {V} {lis} {lone}
according to {osayer}, {lone} {lis} {V}
in {osource}, {V} {lis} {lone}
besides the {noun}, {E} {lhas} {lmore} {A1}: {V}
there {lis} {lmore} {A1} of {E}, {V}
there {lis} {lmore} {A1} at {E}: {V}
{A1} of {E}: {V}
{E}, {A1}: {V}
"""

_ITEMS = """
{lall} {linclude} {Vs}
{lall} {linclude} {Vs}
{lall} {linclude} {Vs}
{lall} {linclude} {Vs}
{lall} {linclude} {ladv} {Vs}
{lall} ({ladv} {Vs}) {lpast0}
{lamong} {lall} {lis} {Vs}
{lamong} {lall} {lis} {Vs}
among {lall}, {osayer} {lcounted} {Vs}
{lamong} {lall} we find {Vs}
{Vs} {lbelonged} {lall}
{Vs} {lbelonged} {lall}
{Vs} {lbelonged} {lall}
{Vs} {lbelonged} {lall} {oday0}
{Vs} {ljoined} {lall}
{Vs} {ljoined} {lall}
{Vs} {ljoined} {lall} {oday0}
{Vs}, {lamong} {lall}, {lpast0}
{Vs}, {ladv} {lamong} {lall}, {lpast0}
{E} {lhas} {Vs} {lamong} {oits} {A}
{E} {lhas} {Vs} {lamong} {oits} {A}
{E} {lhas} {Vs} as {oits} {A}
{E} {lhas} several {A}, {ladv} {Vs}
{E} {lhas} {A} such as {Vs}
{E} {lhas} {A} like {Vs}
{E} {lgot} {Vs} as {A}
{E} {lgot} new {A}: {Vs}
{E} {lgot} more {A}, {ladv} {Vs}
{E} took {Vs} into {oits} {A}
{E} put {Vs} on the list of {oits} {A}
{E}, with {Vs} {lamong} {oits} {A}, {ovp}
{osayer} {ladded} {Vs} to {lall}
{osayer} {ladded} {Vs} to {lall}
{osayer} {ladded} {Vs} to the list of {lall}
{osayer} {lcounted} {Vs} {lamong} {lall}
{osayer} {lcounted} {Vs} {lamong} {lall}
{osayer} {lmet} {Vs} {lamong} {lall}
{osayer} {lmet} {Vs} with the other {A} of {E}
{osayer} {osays} that {lall} {linclude} {Vs}
{osayer} {osays} that {Vs} {lbelonged} {lall}
{osayer} {osays} that {Vs} {ljoined} {lall}
"{lall} {linclude} {Vs}," {osays} {osayer}
{osource} {ogives} {Vs} {lamong} {lall}
{osource} {ogives} {Vs} {lamong} {lall}
{osource} {ogives} {lall}, {ladv} {Vs}
{osource} {osays} that {lall} {linclude} {Vs}
according to {osource}, {lall} {linclude} {Vs}
according to {osayer}, {Vs} {lbelonged} {lall}
in {osource}, {Vs} {lbelonged} {lall}
to {lall} {osayer} {ladded} {Vs}
to {lall} one must count {Vs}
with {Vs} {lall} were {adj}
{lall}: {Vs}
{A} of {E}: {Vs}
{E}, {A}: {Vs}
{E} ({A}: {Vs}) {ovp}
"""

_RULES = {
    "litem": _ITEM,
    "litems": _ITEMS,
    "Vs": """
{V}
{V}
{V}
{V} and {V2}
{V} and {V2}
{V} and {V2}
{V} as well as {V2}
{V} and also {V2}
{V} and then {V2}
both {V} and {V2}
{V}, {V2}
{V}; {V2}
first {V} and later {V2}
""",
    "lone": """
{anA1} of {E}
{anA1} of {E}
{anA1} of {E}
{anA1} of {E}
another {A1} of {E}
another {A1} of {E}
another {A1} of {E}
another {A1} at {E}
one of the {A} of {E}
one of the {A} of {E}
one of {E}'s {A}
one of {E}'s {A}
one {A1} of {E}
one more {A1} of {E}
also {anA1} of {E}
{anA1} at {E}
{anA1} for {E}
the {lth} {A1} of {E}
the {lth} {A1} of {E}
the {lth} {A1} at {E}
{E}'s {lth} {A1}
{E}'s {lth} {A1}
one of the {lth} {A} of {E}
one of the many {A} of {E}
one of the {A} that {E} {lhas}
the {lth} of the {A} of {E}
the {lth} of {E}'s {A}
""",
    "lall": """
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
the {A} of {E}
{E}'s {A}
{E}'s {A}
{E}'s {A}
the {A} at {E}
the {A} for {E}
the {A} {E} {lhas}
the {A} that {E} {lhas}
the {A} belonging to {E}
the {A} {lnamed} for {E}
the {oqual} {A} of {E}
{E}'s {oqual} {A}
{E}'s own {A}
the many {A} of {E}
the {lth} {A} of {E}
""",
    "lth": """
first
second
third
fourth
next
last
latest
newest
oldest
other
new
second
best-known
most recent
youngest
only
favourite
most important
{adj}
{adj}
""",
    "lmore": """
another
another
another
one more
a second
a third
a new
a further
a fourth
one
yet another
an additional
""",
    "lis": """
is
is
is
is
was
was
was
is also
was also
is still
has been
had been
will be
remains
remained
is of course
was once
was then
is now
""",
    "lbecame": """
became
became
has become
soon became
turned out to be
proved to be
was known as
is known as
was made
was named
is listed as
was listed as
was recorded as
is described as
was registered as
was mentioned as
was chosen as
is regarded as
counted as
""",
    "lcalled": """
is called
was called
is named
was named
is known as
goes by the name of
bears the name
""",
    "lcalled0": """
called
named
known as
by the name of
""",
    "lcame": """
came
came
belongs
belonged
was added
was given
was sent
returned
was brought
went
""",
    "lserved": """
served
joined
joined
followed
helped
left
accompanied
was with
""",
    "lhas": """
has
has
has
had
had
also has
also had
keeps
kept
owns
owned
uses
used
counts
counted
includes
included
knows
lists
mentions
names
holds
""",
    "lgot": """
got
received
gained
found
took
took on
bought
accepted
welcomed
was given
chose
picked
added
registered
""",
    "linclude": """
include
include
include
included
included
were
are
also include
also included
now include
have always included
are said to include
were known to include
counted
comprised
contain
""",
    "lbelonged": """
belonged to
belonged to
belong to
counted among
counted among
was among
was among
were among
is among
are among
appeared among
was one of
remained among
was found among
was listed among
were listed among
stands among
was seen among
ranks among
will be among
""",
    "ljoined": """
joined
joined
joined
has joined
also joined
later joined
had joined
will join
was added to
was added to
were added to
came to
entered
increased
""",
    "lamong": """
among
among
among
among
amongst
as one of
""",
    "ladv": """
for example
in particular
above all
namely
among others
also
first of all
chiefly
""",
    "ladded": """
added
added
added
has added
also added
later added
brought
assigned
""",
    "lcounted": """
counted
counts
named
names
mentioned
saw
found
noticed
listed
put
placed
recognised
""",
    "lmet": """
met
saw
spoke to
knew
found
wrote to
wrote about
mentioned
noticed
remembered
praised
asked for
""",
    "lnamed": """
named
listed
given
recorded
mentioned
known
""",
    "lpast0": """
did not answer
was mentioned {oday0}
{past} the {noun}
{past} {person}
was in the news {oday0}
is in the {odoc}
surprised {osayer}
had a {adj} {noun}
was discussed at the {oplace}
""",
}

LISTING: dict[str, tuple[str, ...]] = {
    symbol: tuple(line for line in block.strip("\n").split("\n") if line) for symbol, block in _RULES.items()
}
"""Symbol -> its alternatives; an alternative standing twice is twice as likely. No name of `ordinary` or `rules`."""

LIST_QUESTIONS = tuple(
    """
List the {A} of {E}.
List the {A} of {E}.
List the {A} of {E}.
List all the {A} of {E}.
List all {A} of {E}.
List the {A} at {E}.
List the {A} for {E}.
List the {cur} {A} of {E}.
Please list the {A} of {E}.
Please list all {A} of {E}.
Can you list the {A} of {E}?
I want you to list the {A} of {E}.
For {E}, list the {A}.
What are the {A} of {E}?
What are the {A} of {E}?
What are the {A} of {E}?
What are {E}'s {A}?
What are {E}'s {A}?
What are all the {A} of {E}?
What are the {cur} {A} of {E}?
What are the {A} at {E}?
What are the {A} for {E}?
What were the {A} of {E}?
What were {E}'s {A}?
What {A} are there at {E}?
Which {A} are there at {E}?
Which {A} are known of {E}?
Which {A} are listed for {E}?
Which {A} are given for {E}?
Which {A} were mentioned for {E}?
Which {A} were recorded for {E}?
Which are the {A} of {E}?
Which are the {A} of {E}?
Which are {E}'s {A}?
Which were the {A} of {E}?
Which {A} does {E} have in all?
What {A} does {E} have in all?
Which are all the {A} that {E} has?
Tell me all the {A} of {E}.
Tell me all {A} of {E}.
Tell me what the {A} of {E} are.
Tell me which {A} are given for {E}.
Please tell me all the {A} of {E}.
Give me all the {A} of {E}.
Give me all {A} of {E}.
Give all {A} of {E}.
Find all the {A} of {E}.
Find all {A} of {E}.
Look up all {A} of {E}.
Show me all the {A} of {E}.
I need all the {A} of {E}.
I want to know all the {A} of {E}.
Do you know all the {A} of {E}?
Do you know what the {A} of {E} are?
Can you tell me all the {A} of {E}?
Can you find all {A} of {E}?
According to the text, what are the {A} of {E}?
According to the documents, which are the {A} of {E}?
In the end, what are the {A} of {E}?
For {E}, what are the {A}?
As for {E}, what are all the {A}?
{E}: what are the {A}?
{E}: list the {A}.
All the {A} of {E}?
All {A} of {E}?
what are the {A} of {E}
list the {A} of {E}
all the {A} of {E}
""".strip().split("\n")
)
"""The form alone tells a list from one value, since nouns are numbered tokens: "list the", "are", "were" or "all"."""
WHO_ARE = (
    "Who are the {A} of {E}?", "Who are {E}'s {A}?", "Who were the {A} of {E}?", "Who are all the {A} of {E}?",
    "Tell me who the {A} of {E} are.",
)  # fmt: skip

COUNT_QUESTIONS = tuple(
    """
How many {A} does {E} have?
How many {A} does {E} have?
How many {A} does {E} have?
How many {A} does {E} have?
How many {A} did {E} have?
How many {A} has {E}?
How many {A} are there at {E}?
How many {A} are there at {E}?
How many {A} are there for {E}?
How many {A} were there at {E}?
How many {A} are listed for {E}?
How many {A} are given for {E}?
How many {A} are recorded for {E}?
How many {A} are mentioned for {E}?
How many {A} were mentioned for {E}?
How many {A} of {E} are there?
How many {A} of {E} are known?
How many {A} of {E} are mentioned?
How many {A} of {E} were given?
How many of the {A} of {E} are known?
How many are the {A} of {E}?
How many {cur} {A} does {E} have?
How many {A} does {E} have now?
How many {A} does {E} have today?
How many {A} does {E} have in all?
How many {A} has {E} in all?
In all, how many {A} does {E} have?
In the end, how many {A} does {E} have?
Exactly how many {A} does {E} have?
So how many {A} does {E} have?
And how many {A} does {E} have?
Tell me how many {A} {E} has.
Tell me how many {A} {E} has.
Tell me how many {A} there are at {E}.
Please tell me how many {A} {E} has.
Say how many {A} {E} has.
Find out how many {A} {E} has.
I need to know how many {A} {E} has.
I want to know how many {A} {E} has.
I want to know how many {A} there are at {E}.
Do you know how many {A} {E} has?
Can you tell me how many {A} {E} has?
Can you find out how many {A} {E} has?
Does the text say how many {A} {E} has?
According to the text, how many {A} does {E} have?
According to the documents, how many {A} are there at {E}?
For {E}, how many {A} are there?
As for {E}, how many {A} are there?
{E}: how many {A}?
{E} has how many {A}?
how many {A} does {E} have
how many {A} has {E}
""".strip().split("\n")
)

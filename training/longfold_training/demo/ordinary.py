"""Statements and changes as people ordinarily write them, data of the training grammar. Knows nothing of expansion."""

from __future__ import annotations

STATEMENTS = """
the {A} of {E} is {V}
the {A} of {E} is {V}
the {A} of {E} is {V}
the {A} of {E} was {V}
the {A} of {E} is currently {V}
the {A} of {E} remains {V}
the {A} of {E} has always been {V}
the {A} of {E} will be {V}
the {A} of {E}: {V}
the {A} of {E} was set to {V}
the {A} of {E} was set at {V}
the {A} of {E} was given as {V}
the {A} of {E} was recorded as {V}
the {A} of {E} is listed as {V}
the {A} of {E} is known to be {V}
the {A} of {E} turned out to be {V}
the {A} of {E} stands at {V}
the {A} of {E} reads {V}
the {A} for {E} is {V}
the {A} for {E} is {V}
the {A} for {E} was {V}
the {A} for {E} has been set to {V}
the {A} at {E} is {V}
the {A} used by {E} is {V}
the {A} assigned to {E} is {V}
the {A} belonging to {E} is {V}
{E}'s {A} is {V}
{E}'s {A} is {V}
{E}'s {A} is {V}
{E}'s {A} was {V}
{E}'s {A} has been {V}
{E}'s {A} remains {V}
{E}'s {A} is listed as {V}
{E}'s {A}, {V}, is known to everyone
{E} has the {A} {V}
{E} has {anA} of {V}
{E} has {V} as its {A}
{E} uses {V} as its {A}
{E} uses the {A} {V}
{E} chose {V} as its {A}
{E} named {V} as its {A}
{E} was given the {A} {V}
{E} was assigned the {A} {V}
{E} received the {A} {V}
{E} got {V} as its {A}
{E} is registered with the {A} {V}
{E} lists {V} as its {A}
{E}, with {anA} of {V}, was in the report
{E}, whose {A} is {V}, opened in {year}
{E}, whose {A} is {V}, did not answer
{E} ({A}: {V}) was mentioned again
{E} ({A} {V}) is on the list
{V} is the {A} of {E}
{V} is the {A} of {E}
{V} is {E}'s {A}
{V} was the {A} of {E}
{V} was chosen as the {A} of {E}
{V} serves as the {A} of {E}
{V} was recorded as the {A} of {E}
{V} is listed as the {A} of {E}
for {E}, the {A} is {V}
for {E} the {A} is {V}
for {E}, the {A} was {V}
at {E}, the {A} is {V}
at {E} the {A} was {V}
as for {E}, the {A} is {V}
in the case of {E}, the {A} is {V}
according to {person}, the {A} of {E} is {V}
according to the records, {E}'s {A} is {V}
according to the {noun}, the {A} of {E} was {V}
{person} said that the {A} of {E} is {V}
{person} said the {A} of {E} was {V}
{person} confirmed that {E}'s {A} is {V}
{person} noted that the {A} of {E} is {V}
{person} wrote down {V} as the {A} of {E}
{person} remembered that the {A} of {E} was {V}
{person} told us that {E}'s {A} is {V}
the {noun} shows that the {A} of {E} is {V}
the report states that the {A} of {E} is {V}
the report gives the {A} of {E} as {V}
the records show {V} as the {A} of {E}
the register lists {V} as the {A} of {E}
the list gives {V} as the {A} of {E}
the {noun} says {E}'s {A} is {V}
it is known that the {A} of {E} is {V}
it was announced that the {A} of {E} is {V}
it was agreed that the {A} of {E} would be {V}
everyone knows that the {A} of {E} is {V}
please note that the {A} of {E} is {V}
note that {E}'s {A} is {V}
remember that the {A} of {E} is {V}
we learned that the {A} of {E} was {V}
they found that {E}'s {A} was {V}
they gave {E} the {A} {V}
they chose {V} as the {A} of {E}
they set the {A} of {E} to {V}
{person} set the {A} of {E} to {V}
{person} set {E}'s {A} to {V}
{person} gave {V} as the {A} of {E}
the committee chose {V} as the {A} of {E}
the office assigned the {A} {V} to {E}
the {A} {V} belongs to {E}
the {A} {V} was assigned to {E}
the {A} {V} was given to {E}
if you need the {A} of {E}, it is {V}
when asked about the {A} of {E}, {person} said it was {V}
{E} opened in {year}, and its {A} is {V}
{E} is well known; its {A} is {V}
{E} - {A}: {V}
{E}: {A} {V}
{A} of {E}: {V}
{A} ({E}): {V}
"""

CHANGES = """
the {A} of {E} is now {V}
the {A} of {E} is now {V}
{E}'s {A} is now {V}
the {A} of {E} was changed to {V}
the {A} of {E} was changed to {V}
the {A} of {E} was changed from {X} to {V}
the {A} of {E} was changed from {X} to {V}
the {A} of {E} has changed from {X} to {V}
the {A} of {E} has been changed to {V}
the {A} of {E} has been updated to {V}
the {A} of {E} was updated from {X} to {V}
the {A} of {E} was moved from {X} to {V}
the {A} of {E} was raised from {X} to {V}
the {A} of {E} was later changed to {V}
the {A} of {E} became {V}
the {A} of {E} has become {V}
the {A} of {E} was replaced by {V}
the {A} of {E} is no longer {X} but {V}
the {A} of {E} is no longer {X}; it is {V}
the {A} of {E}, formerly {X}, is now {V}
the {A} of {E} used to be {X} but is now {V}
the {A} of {E} was {X} before, but now it is {V}
the new {A} of {E} is {V}
the new {A} of {E} is {V}
the new {A} for {E} is {V}
the latest {A} of {E} is {V}
{E}'s {A} was changed to {V}
{E}'s {A} was changed from {X} to {V}
{E}'s {A} has changed to {V}
{E}'s {A} has been updated to {V}
{E}'s {A} became {V}
{E}'s new {A} is {V}
{E} changed its {A} to {V}
{E} changed its {A} from {X} to {V}
{E} now has the {A} {V}
{E} now has {anA} of {V}
{E} now uses {V} as its {A}
{E} switched its {A} from {X} to {V}
{E} replaced its {A} {X} with {V}
{person} changed the {A} of {E} to {V}
{person} changed the {A} of {E} from {X} to {V}
{person} changed {E}'s {A} to {V}
they changed the {A} of {E} to {V}
they replaced the {A} of {E} with {V}
they replaced {X} with {V} as the {A} of {E}
{V} replaced {X} as the {A} of {E}
{V} is now the {A} of {E}
{V} is the new {A} of {E}
since {month}, the {A} of {E} is {V}
since {year}, the {A} of {E} has been {V}
from {month} on, the {A} of {E} is {V}
as of {month}, the {A} of {E} is {V}
as of {month}, {E}'s {A} is {V}
in {month}, the {A} of {E} was changed to {V}
in {year}, {E}'s {A} was changed from {X} to {V}
from now on, {E} has the {A} {V}
after the change, the {A} of {E} is {V}
later, the {A} of {E} was changed to {V}
it was announced that the {A} of {E} is now {V}
{person} announced that the {A} of {E} would now be {V}
the report says that the {A} of {E} is now {V}
"""


def lines(rules: str) -> tuple[str, ...]:
    return tuple(line for line in rules.splitlines() if line)

"""English prose of any length for the benchmarks: the reference manual that every Python carries.

Knows no tokens and no facts.
"""

from __future__ import annotations

import pydoc_data.topics


def prose(characters: int) -> str:
    """`characters` characters of the manual, repeated under numbered headings when it is too short."""
    manual = "\n\n".join(pydoc_data.topics.topics.values())
    parts: list[str] = []
    size = 0
    while size < characters:
        part = f"\n\nVolume {len(parts) + 1}\n\n{manual}"
        parts.append(part)
        size += len(part)
    return "".join(parts)[:characters]

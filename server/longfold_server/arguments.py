"""Types of command-line arguments: each takes the text and gives the value, or says what is wrong with it."""

from __future__ import annotations

import argparse
from pathlib import Path


def port(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return value


def count(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def path(text: str) -> Path:
    try:
        found = Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: this machine does not know whose home that is") from None
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty path")
    return found


def network(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a network such as 127.0.0.0/8") from None


def url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or len(text.partition("://")[2].strip("/")) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an http(s) URL")
    return text

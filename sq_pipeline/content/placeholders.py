"""Texts that somebody wrote to be replaced: no prompt is made of one."""

import re

_PLACEHOLDER = re.compile(
    r"^\W*(?:(?:TODO|TBD|TBA|FIXME|XXX|TKTK|TK|WIP|PLACEHOLDER|CHANGEME)\b|(?i:to-?do|tbd|tba|fixme|placeholder)\s*(?:[:(]|$)"
    r"|(?i:lorem ipsum)|(?:\.{3}|…|\?{2,}|-{2,})?\W*$)"
)


def is_placeholder(text: str) -> bool:
    """True for a text that says something, and only that the words are still to come."""
    return bool(text.strip()) and bool(_PLACEHOLDER.match(text))

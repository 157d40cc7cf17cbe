"""Texts that somebody wrote to be replaced: no prompt is made of one."""

import re

_PLACEHOLDER = re.compile(
    r"^[\W_]*(?:(?:TODO|TBD|TBA|FIXME|XXX|TKTK|PLACEHOLDER|CHANGEME)\b"
    r"|(?i:to-?do|tbd|tba|fixme|placeholder)[\W_]*(?:[:(]|$)|(?i:lorem ipsum))"
    r"|^[\s.…?!_*/–—-]*$"
)


def is_placeholder(text: str) -> bool:
    """True for a text that says something, and only that the words are still to come."""
    return bool(text.strip()) and bool(_PLACEHOLDER.match(text))

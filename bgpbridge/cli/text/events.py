"""`events`: a line for each."""

from __future__ import annotations

import time

from bgpbridge.cli.text.words import Json, bad, warn

__all__ = ["clock_time", "event_text"]

COLOURS = {"warning": warn, "error": bad}


def clock_time(at: float) -> str:
    """Local date and time with milliseconds."""
    seconds, fraction = divmod(round(at * 1000), 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{fraction:03}"


def event_text(event: Json) -> str:
    """One event; further lines of its text are indented."""
    severity = COLOURS.get(event["severity"], str)(f"{event['severity']:<7}")
    text = event["text"].replace("\n", "\n    ")
    return f"{clock_time(event['at'])}  {severity}  {event['kind']} {event['subject']}: {text}"

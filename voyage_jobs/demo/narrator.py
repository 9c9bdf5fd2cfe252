"""What the audience sees: numbered acts, short explanations, commands, checked claims; 80 columns, no colour."""

from __future__ import annotations

import textwrap
from typing import TextIO

from voyage_jobs.errors import VoyageJobsError

COLUMNS = 79  # of 80: a full last column wraps on some terminals


class DemoError(VoyageJobsError):
    """Something that the demonstration claims is not true."""


class Narrator:
    """Speaks to one stream. On a terminal there is a live line while one waits, elsewhere only plain lines."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._acts = 0
        self._live = 0
        self._after_command = False
        self.on_terminal = out.isatty()

    def act(self, title: str) -> None:
        """Begin the next act."""
        self._acts += 1
        head = f"--- {self._acts}. {title} "
        self.line("\n" + head + "-" * (COLUMNS - len(head)))
        self._after_command = False

    def say(self, text: str) -> None:
        """A paragraph, wrapped."""
        self._filled(text)

    def insertion(self, text: str) -> None:
        """A line that was put into a document."""
        self._filled(text, "  + ", "  + ")

    def command(self, line: str) -> None:
        """A command as one would type it; its own output follows."""
        self.line(f"\n$ {line}")
        self._after_command = True

    def quote(self, line: str) -> None:
        """A line of somebody else's, cut to the width."""
        self.line(_cut(f"  | {line}"))

    def claim(self, text: str, *, holds: bool) -> None:
        """Something that was checked. Raises `DemoError` if it does not hold."""
        if not holds:
            raise DemoError(f"This is not true, and it should be: {text}")
        if self._after_command:
            self.line()
            self._after_command = False
        self._filled(text, "[ok] ", "     ")

    def line(self, text: str = "") -> None:
        """A line (or several) as it is."""
        self.end_wait()
        self._out.write(text + "\n")
        self._out.flush()

    def wait(self, text: str) -> None:
        """What is waited for, on a line that is overwritten; nothing where there is no terminal."""
        if self.on_terminal:
            shown = _cut(f"  ... {text}")
            self._out.write("\r" + shown.ljust(self._live))
            self._out.flush()
            self._live = len(shown)

    def end_wait(self) -> None:
        """Take the live line away."""
        if self._live:
            self._out.write("\r" + " " * self._live + "\r")
            self._out.flush()
            self._live = 0

    def _filled(self, text: str, first: str = "", rest: str = "") -> None:
        wrapper = textwrap.TextWrapper(
            COLUMNS,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.line(wrapper.fill(" ".join(text.split())))


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else line[: COLUMNS - 3] + "..."

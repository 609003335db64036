"""How text from users and targets becomes cells of a terminal. Pure; it must not know what the text is about."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

WIDTH = 80
"""Columns of every printed line at most."""

Rows = list[list[str]]
_PLAIN = str.maketrans("·…━─▁▂▃▄▅▆▇█", "|~#-_.-=+*%#")
_NAME_MIN = 12
_NAME_LEAST = 6


def clean(text: str, limit: int = 4096) -> str:
    """One printable line of at most `limit` characters: tabs and line ends become blanks, other controls `\\x1b`."""
    cut = text[: limit - 1] + "…" if len(text) > limit else text
    return "".join(_shown(char) for char in cut) if not cut.isprintable() else cut


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def columns(text: str) -> int:
    """Terminal columns of printable text: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_char_columns(char) for char in text)


def _char_columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """The cleaned text in at most `width` columns, cut with an ellipsis."""
    text = clean(text)
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_columns(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…" if width > 0 else ""


def path_label(first: str, second: str, width: int = 26) -> str:
    """`first/second`; of a long one the first part gives way, so that labels of one generator stay apart."""
    label = f"{first}/{second}"
    return label if columns(label) <= width else f"{fit(first, 10)}/{second}"


def pad(text: str, width: int) -> str:
    """The cleaned text in exactly `width` columns, left aligned."""
    cut = fit(text, width)
    return cut + " " * (width - columns(cut))


def flow(head: str, items: Sequence[str], glue: str, width: int = WIDTH) -> list[str]:
    """Lines of items joined by `glue`, broken only between items; the first starts with `head`, others are indented."""
    lines, line, indent = [], head, " " * columns(head)
    started = False
    for item in items:
        cut = fit(item, width - columns(head))
        if started and columns(line) + columns(glue) + columns(cut) > width:
            lines.append(line)
            line, started = indent, False
        line += (glue if started else "") + cut
        started = True
    lines.append(line)
    return lines


def wrap(head: str, sentence: str, width: int = WIDTH, most: int = 3) -> list[str]:
    """The words of a sentence in at most `most` lines; the last ends with an ellipsis when there was more."""
    lines = flow(head, clean(sentence).split() or [""], " ", width)
    if len(lines) > most:
        lines = [*lines[: most - 1], fit(lines[most - 1], width - 2) + " …"]
    return [line.rstrip() for line in lines]


def grid(head: Sequence[str], make: Callable[[bool], Rows], width: int = WIDTH) -> list[str]:
    """Aligned lines, header first. Column 0 is a name and gives way; `make(True)` gives shorter numbers when needed.

    An empty second heading means that column 1 (left aligned) stands under heading 0. All other columns are right
    aligned.
    """
    rows = make(False)
    room = _name_room(head, rows, width)
    longest = max((columns(clean(row[0])) for row in rows), default=0)
    if room < min(longest, _NAME_MIN):
        rows = make(True)
        room = _name_room(head, rows, width)
    lead = 2 if len(head) > 1 and head[1] == "" else 1
    sizes = _sizes(head, rows)
    under = sum(sizes[1:lead]) + lead - 1
    name = max(min(max(longest, columns(head[0]) - under), room), _NAME_LEAST)
    first = pad(head[0], name + under)
    lines = [" " + " ".join([first, *(text.rjust(size) for text, size in zip(head[lead:], sizes[lead:], strict=True))])]
    for row in rows:
        left = [pad(row[0], name), *(pad(row[at], sizes[at]) for at in range(1, lead))]
        right = [" " * (size - columns(cell)) + cell for cell, size in zip(row[lead:], sizes[lead:], strict=True)]
        lines.append(" " + " ".join([*left, *right]))
    return [line.rstrip() for line in lines]


def _sizes(head: Sequence[str], rows: Rows) -> list[int]:
    return [max([columns(text), *(columns(row[at]) for row in rows)]) for at, text in enumerate(head)]


def _name_room(head: Sequence[str], rows: Rows, width: int) -> int:
    return width - 1 - sum(size + 1 for size in _sizes(head, rows)[1:])


def encodable(text: str, encoding: str | None) -> str:
    """The text with what the encoding lacks replaced: `·` by `|`, `…` by `~`, bars by `#`, `-` and `_` to `#`, others by `?`.

    None (a stream in memory) takes everything.
    """
    if encoding is None:
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(_PLAIN)
        return plain.encode(encoding, "replace").decode(encoding)
    except LookupError:
        return encodable(text, "ascii")
    return text

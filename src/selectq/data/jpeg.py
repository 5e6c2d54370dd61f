"""Damage inside of a JPEG that its decoder passes over in silence.

libjpeg goes on after damaged data: it counts a warning, which Pillow keeps to itself, and not even that where the
codes fall into step again, as they do after most short damage. Found here is what needs no second decoder: a marker
that has no place in a scan's data, and a part zeroed by a disk or a transfer that failed. Other damage stays unseen.
"""

import re
from collections.abc import Iterator

ZERO_RUN = bytes(12)
"""Where the code of zeros alone does not end a block, these are 28 or more coefficients of exactly -1 in a row."""

EOI, SOS, HUFFMAN_TABLES = 0xD9, 0xDA, 0xC4
SEQUENTIAL = (0xC0, 0xC1)
AFTER_A_SCAN = (EOI, SOS, HUFFMAN_TABLES, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0))
"""Markers that may follow: other scans, tables, comments and applications' own."""

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
"""What ends a scan's data: neither a stuffed zero nor a restart."""


def find_damage(content: bytes) -> str | None:
    """What is wrong with a JPEG file that a decoder took, or None."""
    sequential = scanned = False
    zeros: dict[int, int] = {}  # table of AC coefficients -> the symbol of its code of zeros alone
    for marker, segment, scan in _segments(content):
        if scanned and marker not in AFTER_A_SCAN:
            return f"the marker {marker:#x} in the middle of its data"
        if marker in SEQUENTIAL:
            sequential = True
        elif marker == HUFFMAN_TABLES:
            zeros |= _zero_symbols(segment)
        elif marker == SOS:
            scanned = True
            if sequential and ZERO_RUN in scan and _ends_blocks_with_ones(segment, zeros):
                return f"{scan.count(0)} zero bytes in its data"
    return None


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each marker with its segment and, behind the start of a scan, the scan's data."""
    position = 2
    while found := _MARKER.match(content, position):
        marker, start = found[1][0], found.end()
        if marker == EOI:
            return
        end = start + int.from_bytes(content[start : start + 2])
        following = _MARKER.search(content, end) if marker == SOS else None
        position = (following.start() if following else len(content)) if marker == SOS else end
        yield marker, content[start + 2 : end], content[end:position]


def _zero_symbols(segment: bytes) -> dict[int, int]:
    """Of each table of AC coefficients in a segment, the symbol that stands first: its code is zeros alone."""
    symbols = {}
    while len(segment) > 17:
        kind, counts = segment[0], segment[1:17]
        if kind >> 4:
            symbols[kind & 15] = segment[17]
        segment = segment[17 + sum(counts) :]
    return symbols


def _ends_blocks_with_ones(header: bytes, zeros: dict[int, int]) -> bool:
    """Whether a scan has a component whose blocks no run of zero bits ends."""
    tables = header[2 : 1 + 2 * header[0] : 2] if header else b""
    return any(zeros.get(table & 15, 0) & 15 for table in tables)

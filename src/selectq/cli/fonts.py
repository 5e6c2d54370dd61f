"""Which installed fonts draw the letters of a text: the default one lacks Chinese, Thai and others."""

import contextlib
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

BOXES = "Last Resort"
"""matplotlib's own fonts of this name draw a box for every letter."""


def find_fonts(text: str) -> tuple[list[str], set[str]]:
    """The default font and, for letters that it lacks, others that have them; and the letters that none has."""
    families, missing = [*FontProperties().get_family()], _missing_in(findfont(FontProperties()), set(text))
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if not missing:
            break
        usable = font.style == "normal" and not font.name.startswith(BOXES) and Path(font.fname).exists()
        if usable and font.name not in families:
            rest = _missing_in(font.fname, missing)
            if rest < missing:
                families.append(font.name)
                missing = rest
    return families, missing


def _missing_in(path: str, letters: set[str]) -> set[str]:
    with contextlib.suppress(OSError, RuntimeError):  # a font that cannot be read draws nothing
        glyphs = FT2Font(path).get_charmap()
        return {letter for letter in letters if ord(letter) not in glyphs}
    return letters

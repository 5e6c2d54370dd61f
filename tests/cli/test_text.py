"""Text for a terminal: columns and line breaks."""

from selectq.cli.text import NO_BREAK, WIDTH, aligned, printable, wrapped


def test_columns_line_up() -> None:
    rows = [["name", "kind", "n"], ["a", "b", "100"], ["long name", "", "7"]]
    assert aligned(rows, left=2) == ["name       kind    n", "a          b     100", "long name          7"]


def test_no_line_ends_in_spaces() -> None:
    assert aligned([["a", "b"], ["c", ""]], left=2) == ["a  b", "c"]


def test_text_is_wrapped_beside_its_label() -> None:
    lines = wrapped("label  ", " ".join(["word"] * 40))
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[0].startswith("label  word") and all(line.startswith("       word") for line in lines[1:])
    assert len(" ".join(lines).split()) == 41


def test_what_no_break_joins_stays_on_a_line() -> None:
    words = [f"{number}{NO_BREAK}words" for number in range(100, 130)]
    lines = wrapped("", ", ".join(words))
    assert len(lines) > 1
    assert ", ".join(words).replace(NO_BREAK, " ") == " ".join(lines)
    assert all(line.rstrip(",").endswith("words") for line in lines)


def test_letters_that_take_two_columns_or_none_are_counted_so() -> None:
    assert aligned([["\u732b\u732b", "1"], ["vo\u0308", "2"], ["cats", "3"]], left=1, gap=" ") == [
        "\u732b\u732b 1",
        "vo\u0308   2",
        "cats 3",
    ]


def test_printable_escapes_what_would_break_a_line() -> None:
    assert printable("dög 5\n\x1b\udcff") == "dög 5\\n\\x1b\\udcff"

"""Markdown: lines of a width that no word is broken for, and code as it stands."""

from selectq.report.formatting import Column
from selectq.report.markdown import WIDTH, bullet, code, markdown_table, prose, rewrapped

WORDS = "quantize/dequantize `metrics/int8/a-name-with-hyphens.json` is " * 20


def test_prose_loses_nothing_and_breaks_no_word() -> None:
    lines = prose(WORDS)
    assert len(lines) > 1 and max(map(len, lines)) <= WIDTH
    assert " ".join(lines).split() == WORDS.split()


def test_entry_of_a_list_is_one_entry() -> None:
    first, *rest = bullet(WORDS)
    assert first.startswith("- quantize") and rest
    assert all(line.startswith("  ") and not line.startswith("   ") for line in rest)
    assert max(map(len, (first, *rest))) <= WIDTH


def test_code_is_left_alone() -> None:
    assert code("sh", ["a  b", ""]) == ["```sh", "a  b", "", "```"]


def test_table_is_aligned() -> None:
    columns = (Column("Name", "text"), Column("Size", "number"))
    assert markdown_table(columns, [("long name", "1"), ("b", "22,222")]) == [
        "| Name      |   Size |",
        "| --------- | -----: |",
        "| long name |      1 |",
        "| b         | 22,222 |",
    ]


def test_paragraphs_and_bullets_are_broken_anew_and_tables_stay() -> None:
    text = f"# {'t ' * 60}\n\nshort\nlines\n\n- {'long ' * 30}\n- two\n  lines\n\n| {'x ' * 60}|\n"
    lines = rewrapped(text).splitlines()
    assert lines[2] == "short lines" and lines[6] == "- two lines" and lines[5].startswith("  long")
    assert [len(line) > 110 for line in lines] == [True, *[False] * 7, True]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown_table((Column("Class", "text"),), [("a|b",)])[2] == r"| a\|b  |"

"""The list of mutants fits the code, and its committed results fit the list."""

from collections import Counter

from mutant_results import read_results
from mutants import CHECKOUT, MUTANTS


def test_every_fault_can_still_be_planted() -> None:
    texts = {file: (CHECKOUT / file).read_text(encoding="utf-8") for file in {mutant.file for mutant in MUTANTS}}
    misplaced = {mutant.name: count for mutant in MUTANTS if (count := texts[mutant.file].count(mutant.old)) != 1}
    assert misplaced == {}, "how often the text to replace occurs"
    assert [mutant.name for mutant in MUTANTS if mutant.old == mutant.new] == []
    tests = {test.partition("::")[0] for mutant in MUTANTS for test in mutant.tests}
    assert sorted(test for test in tests if not (CHECKOUT / test).exists()) == []


def test_faults_are_many_and_have_names_of_their_own() -> None:
    assert len(MUTANTS) >= 110 and max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


def test_nearly_all_faults_were_noticed_when_last_tried() -> None:
    found = read_results()
    assert [mutant.name for mutant in MUTANTS if mutant.name not in found] == [], "to be tried: tests/mutations/run.py"
    survivors = [name for name, by in found.items() if not by]
    assert len(survivors) <= 0.05 * len(MUTANTS), survivors

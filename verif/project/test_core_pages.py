"""Pages that list the cores are those that the registrations make."""

import pytest

from nibblegrad.gen import core_pages
from nibblegrad.gen.config import CORES, DEFAULT, parse
from nibblegrad.golden.errors import InputError
from verif.paths import ROOT

README, HANDBOOK = (ROOT / page for page in ("README.md", "docs/cores.md"))
AGAIN = "to be made anew: .venv/bin/python -m nibblegrad.gen.core_pages"


def test_default_configuration_is_that_of_the_registrations():
    assert DEFAULT.read_text() == core_pages.to_toml(), AGAIN


def test_every_sample_is_what_its_section_says():
    modules = parse(core_pages.to_toml())
    expected = {
        name: core.config(**sample.keys)
        for core in CORES.values()
        for name, sample in core.samples.items()
    }
    assert modules == expected


def test_table_of_the_readme_is_that_of_the_registrations():
    page = README.read_text()
    assert core_pages.with_table(page, CORES, HANDBOOK.read_text()) == page, AGAIN
    # And it is found: another table would be put in its place.
    assert core_pages.with_table(page, {}, "").count("| [`") == page.count("| [`") - len(CORES)


@pytest.mark.parametrize(
    "missing, what",
    [
        ("## `step_gradient`:", "section"),
        ("| `step_gradient` |", "row in its table of sizes"),
    ],
)
def test_a_core_without_a_place_in_the_handbook_is_refused(missing, what):
    handbook = HANDBOOK.read_text()
    assert missing in handbook
    message = rf"^docs/cores\.md has no {what} for the core 'step_gradient'; add one$"
    with pytest.raises(InputError, match=message):
        core_pages.to_table(CORES, handbook.replace(missing, "nothing"))


def test_lines_are_no_longer_than_a_page():
    assert max(map(len, core_pages.to_toml().splitlines())) <= 100

"""What README.md and the handbook promise to be there, is."""

import re

import pytest

from verif.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page):
    """Compute the anchors of a page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        yield plain.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_latencies_are_those_of_the_cores():
    from nibblegrad.gen import config

    modules = config.load(config.DEFAULT)
    rows = re.findall(r"^\| \[`(\w+)`\].*?\| (\d+) \|", (ROOT / "README.md").read_text(), re.M)
    assert [name for name, _ in rows] == list(config.CORES)
    for name, latency in rows:
        assert modules[name].build().latency == int(latency), name


def test_registers_are_those_of_the_default_configuration():
    from nibblegrad.gen.emission import registers

    page = (ROOT / "docs" / "registers.md").read_text()
    again = "make verilog && cp build/verilog/training_core_registers.md docs/registers.md"
    assert page == registers.to_markdown("training_core"), f"to be made anew: {again}"

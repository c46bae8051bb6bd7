"""Drawings of the handbook: nothing outside of the canvas, no text over its box or under a line."""

import pytest

from nibblegrad.gen import config
from nibblegrad.golden.engine.registers import BY_NAME
from verif import waveform
from verif.paths import ROOT
from verif.support import svg_check

IMAGES = ROOT / "docs" / "images"
#: Those drawn by hand; the chart of a step is looked at in test_cycles_command.py.
DRAWINGS = sorted(set(IMAGES.glob("*.svg")) - {IMAGES / "step.svg"})


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_drawing_keeps_to_its_canvas_and_boxes(path):
    assert svg_check.faults(path.read_text()) == []


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" font-size="12">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8">
<path d="M0 0 L8 4 L0 8 z"/></marker>
<style>.box { stroke: #000; stroke-width: 2 } .wire { stroke: #000; marker-end: url(#arrow) }
.name { font-size: 14px; font-weight: bold; text-anchor: middle }</style></defs>
<rect width="200" height="100" fill="#fff"/>
<rect class="box" x="10" y="10" width="80" height="40"/>
<text class="name" x="50" y="35">quantizer</text>
<path class="wire" d="M90 30 H150"/>
PLANTED</svg>"""


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("", None),
        ('<text x="110" y="90">within</text>', None),
        ('<text x="170" y="90">beyond</text>', 'Text "beyond" is outside of the canvas'),
        ('<text x="50" y="4">above</text>', 'Text "above" is outside of the canvas'),
        ('<text x="30" y="90" text-anchor="end">left</text>', None),
        ('<text x="15" y="90" text-anchor="end">left</text>', 'Text "left" is outside of the'),
        ('<text x="199" y="90" transform="rotate(-90 199 90)">turned</text>', None),
        ('<text x="9" y="40" transform="rotate(-90 199 90)">turned</text>', "is outside"),
        ('<g transform="translate(90 0)"><text x="90" y="90">moved</text></g>', "is outside"),
        ('<g font-size="40"><text x="100" y="95">large</text></g>', "is outside"),
        ('<path stroke="#000" d="M150 60 V100"/>', "is outside of the canvas"),
        ('<path d="M150 60 V100"/>', None),
        ('<path class="wire" d="M150 60 H200"/>', "is outside of the canvas"),
        ('<path class="wire" d="M150 98 H160"/>', "is outside of the canvas"),
        ('<rect class="box" x="150" y="60" width="49.5" height="20"/>', "is outside of the"),
        ('<rect x="150" y="60" width="50" height="20"/>', None),
        ('<rect class="box" x="100" y="60" width="60" height="20"/>'
         '<text class="name" x="130" y="75">quantizer</text>', "runs over the box at 100, 60"),
        ('<text x="60" y="56">edge</text>', 'Text "edge" runs into the box at 10, 10'),
        ('<text x="100" y="35">wire</text>', 'Text "wire" is crossed by the line "M90 30 H150"'),
        ('<text x="110" y="90">one</text><text x="120" y="92">two</text>', "overlaps"),
    ],
)  # fmt: skip
def test_faults_of_a_drawing_are_found(planted, fault):
    found = svg_check.faults(DRAWING.replace("PLANTED", planted))
    assert len(found) == (fault is not None), found
    assert fault is None or fault in found[0]


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        ('<circle cx="1" cy="1" r="1"/>', "Element circle is not known"),
        ('<path d="M0 0 C1 1 2 2 3 3"/>', "Part C1 1 2 2 3 3 of a path is not known"),
        ('<text transform="skewX(3)" x="9" y="90">x</text>', "Transform skewX is not known"),
        ('<text x="9" y="90">a<tspan>b</tspan></text>', "Element text is not known"),
    ],
)
def test_what_is_not_known_is_not_passed_over(planted, complaint):
    with pytest.raises(ValueError, match=complaint):
        svg_check.faults(DRAWING.replace("PLANTED", planted))


def recording(length):
    """Make up what the pins of a core do in so many cycles, as the waveform's program would."""

    def at(share):
        return round(share * length)

    pins = [dict.fromkeys(waveform.PINS, 0) for _ in range(length)]
    for share in (0.04, 0.07, 0.1, 0.13, 0.16, 0.3):
        for cycle, address in ((-3, "SCALE"), (0, "COMMAND")):
            pins[at(share) + cycle] |= {"s_axi_awvalid": 1, "s_axi_awready": 1}
            pins[at(share) + cycle]["s_axi_awaddr"] = BY_NAME[address].offset
    for stream, begin, end, pace in (
        *(("s_axis", *ends, 1) for ends in ((0.1, 0.3), (0.31, 0.33), (0.35, 0.45), (0.47, 0.6))),
        ("m_axis", 0.78, 0.95, 8),
    ):
        for cycle in range(at(begin), at(end), pace):
            pins[cycle] |= {f"{stream}_tvalid": 1, f"{stream}_tready": 1}
        pins[cycle][f"{stream}_tlast"] = 1
    for cycle in range(at(0.96), length):
        pins[cycle]["irq"] = 1
    done = [at(share) for share in (0.31, 0.34, 0.46, 0.62, 0.74, 0.96)]
    status = [
        (
            cycle,
            at(0.1) <= cycle < done[3],
            at(0.48) <= cycle < done[5],
            sum(cycle >= end for end in done),
        )
        for cycle in range(0, length, 9)
    ]
    return pins, status


@pytest.mark.parametrize("length", [500, 1140, 1300, 2600, 12000])
def test_waveform_fits_whatever_was_recorded(length):
    commands = waveform.program(config.load(config.DEFAULT)["training_core"].size())
    drawn = waveform.draw(*recording(length), commands)
    assert svg_check.faults(drawn) == []
    assert "strips of forward 2" in drawn and "6: FORWARD to STREAM (16 x 32 x 24)" in drawn

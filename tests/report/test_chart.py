"""Charts: well-formed, inside their frame, no spike lost, nothing that is not finite."""

import math
import re
import xml.etree.ElementTree as ET

from xtune.report.chart import HEIGHT, WIDTH, Axis, Chart, Curve, Mark, number_text, thinned


def points_of(svg: str) -> list[tuple[float, float]]:
    root = ET.fromstring(svg)
    lines = [element.attrib["points"] for element in root.iter("polyline")]
    pairs = [pair.split(",") for line in lines for pair in line.split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_chart_is_well_formed_and_stays_in_its_frame() -> None:
    points = [(float(step), 2.0 / step) for step in range(1, 2000)]
    svg = Chart(
        title='<loss> & "more"',
        curves=(Curve(points),),
        x_label="step",
        marks=(Mark(900, "m", "bad"),),
    ).svg()
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points_of(svg))
    assert "<loss>" not in svg


def test_what_is_not_finite_is_left_out_and_nothing_is_an_empty_chart() -> None:
    points = [(1.0, math.nan), (2.0, 1.0), (3.0, math.inf), (4.0, 2.0)]
    svg = Chart(title="", curves=(Curve(points),), x_label="").svg()
    assert len(points_of(svg)) == 2
    assert not re.search(r"nan|inf", svg)
    assert Chart(title="", curves=(Curve([(1.0, math.nan)]),), x_label="").svg() == ""
    assert Chart(title="", curves=(Curve([(1.0, 0.0)]),), x_label="", log_y=True).svg() == ""


def test_thinning_keeps_the_highest_and_lowest_point() -> None:
    points = [(float(x), 1.0) for x in range(50_000)]
    points[31_234] = (31_234.0, 9.0)
    points[777] = (777.0, -3.0)
    kept = thinned(points)
    assert len(kept) <= 800
    assert {(31_234.0, 9.0), (777.0, -3.0)} <= set(kept)
    assert kept == sorted(kept)


def test_one_value_alone_and_tiny_ranges_can_be_drawn() -> None:
    for values in ([3.0], [0.0, 0.0], [1e-9, 2e-9], [-5.0, 5.0]):
        chart = Chart(title="", curves=(Curve(list(enumerate(values, start=1))),), x_label="")
        assert ET.fromstring(chart.svg()).tag == "svg"


def test_ticks_are_round() -> None:
    assert Axis(0.0, 1.0, False).ticks() == [0.0, 0.5, 1.0]
    assert [number_text(value) for value in Axis(1e-6, 1.0, True).ticks()] == [
        "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1",
    ]  # fmt: skip

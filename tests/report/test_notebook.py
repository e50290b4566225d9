"""The notebook's panel as a browser would read it."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from xtune.report.notebook import CURVE_POINTS, Curve, NotebookProgress, in_notebook


class Page:
    """Where panels are shown: the first one, and what replaced it."""

    def __init__(self) -> None:
        self.panels: list[str] = []

    def show(self, panel: str) -> Callable[[str], None]:
        """Show a panel; returns what replaces it."""
        self.panels.append(panel)
        return self.panels.append

    def last(self) -> ET.Element:
        """The panel that is seen now."""
        return ET.fromstring(self.panels[-1].replace("&middot;", "·"))


def test_the_panel_is_updated_in_place_twice_a_second_and_ends_complete(
    play: Callable[..., None],
) -> None:
    page, now = Page(), [0.0]

    def wait(_: int) -> None:
        now[0] += 0.1

    play(NotebookProgress(page.show, clock=lambda: now[0]), between=wait)
    # start, 40 steps of 0.1 s at one update in 0.5 s, the last step, two evaluations, the end
    assert 10 <= len(page.panels) <= 14
    panel = page.last()
    bar = panel.find("progress")
    assert bar is not None
    assert bar.attrib["value"] == bar.attrib["max"] == "40"
    text = "".join(panel.itertext())
    assert "step 40/40" in text
    assert "step 40: evaluation loss 0.6366 (best)" in text
    assert text.endswith("Done after 40 steps.")
    assert len(panel.findall("svg/circle")) == 2


def test_a_message_cannot_inject_markup(play: Callable[..., None]) -> None:
    page = Page()
    observer = NotebookProgress(page.show)
    play(observer)
    observer.on_message("<script>alert(1)</script> & more")
    assert "<script>" not in page.panels[-1]
    assert "<script>alert(1)</script> & more" in "".join(page.last().itertext())


def test_a_long_curve_is_thinned_out_and_keeps_its_ends() -> None:
    curve = Curve()
    for step in range(1, 5001):
        curve.add(step, 1 / step)
    assert CURVE_POINTS / 2 <= len(curve.points) <= CURVE_POINTS
    assert curve.points[-1][0] > 4900
    assert curve.points[0][0] <= 32


def test_a_curve_of_one_point_or_of_no_numbers_is_empty() -> None:
    curve = Curve()
    curve.add(1, 2.0)
    curve.add(2, float("nan"))
    assert curve.svg() == ""


@pytest.mark.parametrize(
    ("shell", "expected"),
    [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)],
)
def test_only_a_shell_with_a_kernel_is_a_notebook(
    monkeypatch: pytest.MonkeyPatch, shell: object, expected: bool
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook() is expected

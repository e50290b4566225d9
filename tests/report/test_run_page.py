"""The page of a run: what is in it, that hostile texts stay text, that damage is told; opened by a real browser where one is."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xtune.errors import RunError
from xtune.report.run_page import write_report

HOSTILE = '</pre></script><script>document.title="owned"</script><img src=x onerror=alert(1)>\u202e\x1b[31m&amp;'
"""What a row, a recipe or a note may hold."""


class Elements(HTMLParser):
    """The tags of a page, and whatever could fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in {"src", "srcset", "action"}:
                self.active.append(f"{tag} {name}")
            if name == "href" and not (value or "").startswith("#"):
                self.active.append(f"{tag} {name}={value}")


@pytest.fixture
def judged(run_folder: Path) -> Path:
    """A run with texts of every kind in it."""
    (run_folder / "recipe.yaml").write_text(
        f"model: {{name: base-model}}\nmethod: {{type: lora}}\n# {HOSTILE}".replace("\x1b", ""), encoding="utf-8"
    )  # fmt: skip
    (run_folder / "status.json").write_text(json.dumps({"state": "finished", "step": 40, "total_steps": 40}))  # fmt: skip
    plan = {"choices": {"optimizer": {"value": "adamw", "reason": HOSTILE}}, "predicted_bytes": {"weights": 2**20}}  # fmt: skip
    (run_folder / "plan.json").write_text(json.dumps(plan))
    part = {"rows_read": 9, "rows_kept": 7, "tokens": 900, "trained_tokens": 400,
            "dropped": {HOSTILE: {"rows": 2}}, "lengths": {"median": 70}, "histogram": [[64, 3], [128, 4]]}  # fmt: skip
    (run_folder / "data.json").write_text(json.dumps({"files": [{"name": HOSTILE, "rows": 9}], "train": part}))  # fmt: skip
    share = {"value": 0.5, "standard_error": 0.1}
    rows = [
        {"origin": "rows.jsonl:1", "prompt": HOSTILE, "expected": "مرحبا", "before": HOSTILE, "after": "x" * 5000, "after_exact": True},
        {"origin": "rows.jsonl:2", "prompt": "p", "expected": "e", "before": "e", "after": "", "before_exact": True},
    ]  # fmt: skip
    sides = {"before": {"loss": 2.0, "new_measure": 0.25}, "after": {"loss": 1.5, "new_measure": 0.75, "exact_match": share}}  # fmt: skip
    (run_folder / "evaluation.json").write_text(
        json.dumps({**sides, "notes": [HOSTILE], "rows": rows})
    )
    return run_folder


def test_hostile_texts_stay_text_and_nothing_is_fetched(judged: Path) -> None:
    page = write_report(judged).read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(page)
    assert elements.active == []
    assert {"script", "img", "link", "iframe"}.isdisjoint(elements.tags)
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page


def test_the_page_holds_recipe_plan_curves_answers_evaluation_and_data(judged: Path) -> None:
    page = write_report(judged).read_text(encoding="utf-8")
    assert "base-model" in page
    assert "adamw" in page
    assert page.count("<polyline") >= 3
    assert "fixed" in page
    assert "broken" in page
    assert "7 of 9" in page
    assert re.search(r"new measure.*0\.2500.*0\.7500", page)
    assert "50.0% ± 10.0%" in page
    assert "3,000 more characters" in page


def test_measures_with_intervals_are_shown_and_half_of_one_is_left_out(judged: Path) -> None:
    whole = {"value": 0.25, "low": 0.125, "high": 0.5}
    measure = {"base": whole, "tuned": whole, "difference": whole, "verdict": "better"}
    evaluation = json.loads((judged / "evaluation.json").read_text())
    evaluation["measures"] = {"ROUGE-L": measure, "torn": {"base": whole}, "worse": 3}
    (judged / "evaluation.json").write_text(json.dumps(evaluation))
    page = write_report(judged).read_text(encoding="utf-8")
    assert page.count("0.25 (0.125 to 0.5)") == 3
    assert "torn" not in page


def test_damaged_files_are_named_and_the_rest_is_shown(judged: Path) -> None:
    (judged / "plan.json").write_text("{")
    (judged / "evaluation.json").write_text("[1]")
    page = write_report(judged).read_text(encoding="utf-8")
    assert "plan.json is damaged" in page
    assert "evaluation.json is damaged" in page
    assert "7 of 9" in page


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        write_report(tmp_path)
    with pytest.raises(RunError, match="no folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.skipif(shutil.which("chromium-headless-shell") is None, reason="needs chromium-headless-shell")  # fmt: skip
@pytest.mark.parametrize("width", [390, 1280])
def test_in_chromium_it_is_no_wider_than_the_window_and_runs_nothing(
    judged: Path, width: int
) -> None:
    page = write_report(judged)
    text = page.read_text(encoding="utf-8")
    # the page forbids scripts: to measure it, a copy allows one
    measure = '<script>document.title=document.title+" | "+document.documentElement.scrollWidth</script></body>'
    copy = page.with_name("measured.html")
    copy.write_text(
        re.sub(r"<meta http-equiv=.*?>", "", text, count=1).replace("</body>", measure),
        encoding="utf-8",
    )
    browser = ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]  # fmt: skip
    shown = subprocess.run(
        [*browser, "--dump-dom", copy.as_uri()], capture_output=True, text=True, check=True, timeout=600
    ).stdout  # fmt: skip
    title = re.findall(r"<title>(.*?)</title>", shown)[0]
    assert title.startswith("orders-lora | ")
    assert int(title.partition(" | ")[2]) <= width

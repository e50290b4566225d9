"""The picture of a plan: bars that are the peak, lengths that people ask about, and a file that is a picture."""

from pathlib import Path

import pytest
from machines import LLAMA_7B, gpu, make_recipe
from PIL import Image

from xtune.api_plan import Target, plan, plot_plan
from xtune.memory import GIB
from xtune.plan.assess import assess, at_lengths
from xtune.plan.parts import MEANINGS
from xtune.report.plan_picture import GROUPS, MOST_LENGTHS, grouped, lengths_of


def test_every_part_of_a_peak_is_in_one_group() -> None:
    parts = [name for _, names in GROUPS.values() for name in names]
    assert sorted(parts) == sorted(MEANINGS)


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_bars_add_up_to_the_peak_and_fit_up_to_the_longest_length(method: str) -> None:
    answer = assess(make_recipe(method), gpu(24), LLAMA_7B)
    lengths = lengths_of(answer)
    assert lengths == sorted(set(lengths))
    assert len(lengths) <= MOST_LENGTHS
    assert {answer.plan.recipe.data.max_tokens, answer.longest_tokens} <= set(lengths)
    for each in at_lengths(answer, lengths):
        peak = each.plan.predicted.peak_bytes  # type: ignore[union-attr]
        assert peak <= 24 * GIB
        assert sum(grouped(each.plan).values()) == pytest.approx(peak / GIB)
        assert each.plan.recipe.data.max_tokens == each.tokens


def test_what_fits_at_no_length_is_drawn_as_it_was_asked(tmp_path: Path) -> None:
    answer = assess(make_recipe("qlora"), gpu(1), LLAMA_7B)
    assert lengths_of(answer) == [answer.plan.recipe.data.max_tokens]
    plot_plan(answer).save(tmp_path / "plan.png")
    with Image.open(tmp_path / "plan.png") as picture:
        assert picture.size == (1600, 1200)


def test_of_several_methods_the_advised_is_drawn(tmp_path: Path) -> None:
    answer = plan("Qwen/Qwen3-0.6B", on=Target(gpu="RTX 4060", ram="32GiB"))
    plot_plan(answer).save(tmp_path / "plan.png")
    with Image.open(tmp_path / "plan.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20) or ()}
    drawn = {tuple(bytes.fromhex(colour[1:])) for colour, _ in GROUPS.values()}
    assert len(drawn & colours) >= 5

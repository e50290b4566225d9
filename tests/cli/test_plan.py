"""`xtune plan` as a person or a program runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from machines import LLAMA_7B_CONFIG

from xtune.api_plan import ModelPlans, Target, plan
from xtune.errors import XtuneError

FIELDS = {
    "fits", "peak_bytes", "budget_bytes", "items", "choices", "longest_tokens", "host_bytes", "disk_bytes",
    "tokens_per_s",
}  # fmt: skip


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xtune", "plan", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_bare_config_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_7B_CONFIG))
    done = ask(str(path), "--vram", "8GiB", "--tokens", "4096", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() >= FIELDS
    assert answer["fits"] is True
    assert answer["method"] == "qlora"
    assert list(answer["methods"]) == ["full", "lora", "qlora"]
    assert answer["budget_bytes"] == 8 * 2**30 >= answer["peak_bytes"]
    assert answer["longest_tokens"] >= 4096


def test_a_recipe_is_planned_for_a_card_that_is_not_here() -> None:
    done = ask("qwen3-8b-qlora-8gb", "--gpu", "RTX 4060", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["fits"] is True
    assert answer["tokens_per_s"] > 0


def test_a_plan_is_drawn_into_a_file_whose_folder_is_there(tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    done = ask("qwen3-8b-qlora-8gb", "--vram", "8GiB", "--json", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fits"] is True
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused = ask(
        "qwen3-8b-qlora-8gb", "--vram", "8GiB", "--plot", str(tmp_path / "no" / "plan.png")
    )
    assert refused.returncode == 2
    assert "There is no folder" in refused.stderr


@pytest.mark.parametrize(
    ("model", "card", "method"),
    [
        # 8 billion weights beside 24 GiB leave gradients no room: each is stepped as it comes, its states paged
        ("meta-llama/Llama-3.1-8B", "RTX 3090", "lora"),
        ("Qwen/Qwen3-0.6B", "T4", "full"),
        ("Qwen/Qwen2.5-32B", "RTX 4090", "qlora"),
    ],
)
def test_the_method_that_is_advised_is_one_that_its_own_table_speaks_for(
    model: str, card: str, method: str
) -> None:
    found = plan(model, on=Target(gpu=card, ram="64GiB"))
    assert isinstance(found, ModelPlans)
    advised = found.advised
    assert advised.plan.recipe.method.type == method
    assert found.advice().startswith(f"Take {method}: ")
    speeds = {name: each.tokens_per_s or 0.0 for name, each in found.plans.items()}
    assert 2 * speeds[method] >= max(
        each for name, each in speeds.items() if found.plans[name].fits
    )
    if "faster than QLoRA" in found.advice():
        assert speeds["lora"] > speeds["qlora"]


def test_one_method_can_be_asked_about() -> None:
    done = ask("meta-llama/Llama-3.1-8B", "method=qlora", "method.rank=32", "--vram", "24GiB")
    assert done.returncode == 0, done.stderr
    assert "qlora" in done.stdout
    assert "full" not in done.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("nowhere.json", "--vram", "8"), "nowhere.json"),
        (("meta-llama/Llama-3.1-8B", "--gpu", "RTX 9"), "No card called"),
        (("meta-llama/Llama-3.1-8B", "--vram", "much"), "--vram"),
        (("no-such-recipe",), "no recipe"),
        (("llama-3.1-8B",), "Did you mean the model `meta-llama/Llama-3.1-8B`?"),
        (("meta-llama/Llama-3.1-8B", "--vram", "8", "method.rnk=3"), "rnk"),
        (("",), "No recipe and no model"),
        (("meta-llama/Llama-3.1-8B", "--vram", ""), "--vram is ''"),
        (("meta-llama/Llama-3.1-8B", "--gpu", ""), "No card called ''"),
    ],
)
def test_a_wrong_question_is_answered_in_a_line(words: tuple[str, ...], part: str) -> None:
    done = ask(*words)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model_type": "bert"}, "is an encoder"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "stored quantised (gptq)"),
        ({"quantization_config": "nf4"}, "must be an object"),
        ({"hidden_size": "4096"}, "`hidden_size` is '4096'"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_in_a_line(
    tmp_path: Path, changes: dict[str, object], part: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA_7B_CONFIG, **changes}))
    with pytest.raises(XtuneError) as refused:
        plan(str(path), on=Target(vram="8GiB"))
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_base_that_is_stored_in_4_bits_is_planned_as_it_is_stored(tmp_path: Path) -> None:
    """Scales of 4 bytes for every 64 weights in the place of double-quantised ones of 1 byte and 4 bytes for 256 of them."""
    paths = {}
    for name, stored in {
        "plain": None,
        "stored": {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
        },
    }.items():
        paths[name] = tmp_path / f"{name}.json"
        config = {**LLAMA_7B_CONFIG, "quantization_config": stored}
        paths[name].write_text(json.dumps(config))
    plain, stored_plan = (
        plan(str(path), ["method=qlora", "memory.base=device"], on=Target(vram="24GiB"))
        for path in paths.values()
    )
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    more = linear // 64 * 4 - (linear // 64 + linear // 64 // 256 * 4)
    weights = [each.to_json()["items"]["weights"] for each in (plain, stored_plan)]
    assert weights[1] - weights[0] == pytest.approx(more, rel=0.01)
    assert "stored quantised by bitsandbytes" in str(stored_plan)
    every = plan(str(paths["stored"]), on=Target(vram="24GiB"))
    assert list(every.to_json()["methods"]) == ["qlora"]
    assert list(every.to_json()["refused"]) == ["full", "lora"]


def test_the_table_says_what_is_short_and_which_lengths_the_model_was_made_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA_7B_CONFIG))
    text = str(plan(str(path), on=Target(vram="8GiB", ram="32GiB"), tokens=2048))
    assert "full does not fit: it needs" in text
    assert "the model was made for 4,096 (`max_position_embeddings`)" in text
    beyond = str(plan(str(path), on=Target(vram="8GiB", ram="32GiB"), tokens=8192))
    assert beyond.count("beyond the 4,096 positions") == 1

"""What loading takes for a moment, by the system's own count of a real process, beside what the plan computes of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_model, save_model

from xtune.memory import ModelShape, Workload, host_items, predict
from xtune.memory.loading import host_loading_bytes, loading_bytes

MIB = 2**20

GROWTH = """
import json, sys
from xtune.memory import ModelShape, Workload
from xtune.memory.loading import loading_bytes
from xtune.models.allocator import give_back_memory
from xtune.models.load import Loading, load_base
from xtune.recipe.models import Model, QLoRA

def resident(name):
    line = next(each for each in open("/proc/self/status") if each.startswith(name))
    return int(line.split()[1]) * 1024

folder = sys.argv[1]
shape = ModelShape.from_config(json.load(open(f"{folder}/config.json")))
found = {}
for form in sys.argv[2:]:
    loading = Loading(
        model=Model(name=folder), device="cpu", weight_dtype="bfloat16", compute_dtype="bfloat16",
        attention="sdpa", quantization=QLoRA(type="qlora", quantization=form),
    )
    if not found:
        load_base(loading)  # imports what is imported late
    give_back_memory()
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    model = load_base(loading)
    work = Workload(method="qlora", tokens=64, quantization=form, device="cpu")
    found[form] = resident("VmHWM") - before, loading_bytes(shape, work)
    del model
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("vocabulary", [300, 60_000])
def test_a_base_that_is_quantised_takes_no_more_than_is_computed(
    vocabulary: int, tmp_path: Path
) -> None:
    """Matrices of 6 million numbers: what glibc's allocator takes for small ones is its own affair."""
    make_model(
        "llama", hidden_size=768, intermediate_size=8192, num_hidden_layers=1, num_attention_heads=12,
        num_key_value_heads=4, head_dim=64, vocab_size=vocabulary,
    ).to(torch.bfloat16).save_pretrained(tmp_path)  # fmt: skip
    forms = ["nf4", "fp4", "int8"]
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path), *forms],
        capture_output=True,
        text=True,
        check=True,
    )
    for form, (grown, computed) in json.loads(done.stdout.splitlines()[-1]).items():
        assert grown < 1.15 * computed + 32 * MIB, form
        assert computed < 1.5 * grown + 32 * MIB, form


LLAMA_8B = ModelShape.from_config(
    {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16",
    }
)  # fmt: skip
TABLE, LARGEST = 2 * 128256 * 4096, 4096 * 14336
LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * LARGEST


def test_a_gpu_has_one_matrix_in_16_bits_beside_the_quantised_base() -> None:
    """By hand: a weight has half a byte, a scale of a byte for 64 and one of four for 64 times 256; norms 16 bits."""
    work = Workload(method="qlora", tokens=64, rank=1, quantization="nf4")
    base = 32 * (LAYER // 2 + LAYER // 64 + LAYER // 64 // 256 * 4) + 2 * 65 * 4096
    expected = 2 * TABLE + base + 2 * LARGEST + LARGEST // 8
    assert loading_bytes(LLAMA_8B, work) == pytest.approx(expected, rel=1e-4)
    away = Workload(method="qlora", tokens=64, rank=1, quantization="nf4", base_place="host")
    assert loading_bytes(LLAMA_8B, away) == pytest.approx(expected - base * 31 / 32, rel=1e-3)


def test_a_head_on_the_host_is_there_twice_while_it_is_pinned() -> None:
    fields: dict[str, Any] = {"method": "qlora", "tokens": 64, "rank": 1, "quantization": "nf4"}
    work = Workload(**fields, embeddings_place="host", head_form="host")
    assert host_loading_bytes(LLAMA_8B, work) == 3 * TABLE
    assert sum(host_items(LLAMA_8B, work).values()) == 3 * TABLE


def test_a_base_on_disk_that_its_start_changes_is_in_host_memory_until_it_is_put_to_rest_anew() -> (
    None
):
    fields: dict[str, Any] = {"method": "lora", "tokens": 64, "rank": 1, "base_place": "disk"}
    plain, changed = (
        sum(host_items(LLAMA_8B, Workload(**fields, init=init)).values())
        for init in ("default", "pissa_niter_4")
    )
    assert changed - plain > 2 * 32 * LAYER - 2 * 2 * LAYER


def test_short_rows_on_a_processor_are_planned_with_the_matrix_that_is_quantised() -> None:
    work = Workload(method="qlora", tokens=16, rank=1, quantization="nf4", device="cpu")
    found = predict(LLAMA_8B, work)
    assert found.items["load"] > found.step_bytes
    assert found.peak_bytes >= found.resident_bytes + found.items["load"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")
def test_a_run_of_short_rows_keeps_within_its_plan(tmp_path: Path) -> None:
    """As `xtune train` in a process of its own: of 900 MiB that its steps take by the plan, 1,005 were measured, while it loaded."""
    folder = save_model(
        tmp_path / "base", "llama", dtype="bfloat16", hidden_size=2048, intermediate_size=8192, num_hidden_layers=2,
        num_attention_heads=16, num_key_value_heads=4, head_dim=128, vocab_size=300,
    )  # fmt: skip
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "one", "completion": "two"}\n' * 4)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{name: {folder}}}\nmethod: {{type: qlora, rank: 2, quantization: fp4}}\n"
        f"data: {{train: {rows}, max_tokens: 64}}\ntrain: {{learning_rate: 1e-4, max_steps: 1, batch_size: 1}}\n"
        f"run: {{folder: {tmp_path / 'run'}}}\n"
    )
    command = [sys.executable, "-m", "xtune", "train", str(recipe)]
    done = subprocess.run([sys.executable, "-c", CHILD, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = json.loads((tmp_path / "run" / "plan.json").read_text())["predicted_bytes"]
    assert int(done.stdout.splitlines()[-1]) < planned["peak"]
    assert planned["load"] > 16 * MIB * 30


CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""

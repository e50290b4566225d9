"""Memory of `xtune merge` beside the size of one shard: `python -m benchmarks.merge`; each merge in a process of its own."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHILD = """
import json, sys, time
from pathlib import Path
from transformers import AutoTokenizer
from transformers.models.llama import modeling_llama
from xtune.adapter.merge import merge
def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
AutoTokenizer.from_pretrained(Path(sys.argv[1]).parent / "base")
before = held("VmRSS")
started = time.process_time()
merge(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps({"bytes": held("VmHWM") - before, "seconds": time.process_time() - started}))
"""
"""Merges, and tells how far its resident memory rose above that of the libraries, in bytes. Linux alone tells a process's own peak."""


def measure(adapter: Path, target: Path) -> dict[str, float]:
    """Bytes that a merge takes above what its libraries take, and its processor seconds."""
    command = [sys.executable, "-c", CHILD, str(adapter), str(target)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_case(folder: Path, *, layers: int, hidden: int, shard_bytes: int) -> Path:
    """A model of several shards with a LoRA on all its linear layers; returns the adapter's folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from xtune.demo.bundled import bundled_path

    base = folder / "base"
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
    )
    build: Any = AutoModelForCausalLM.from_config  # untyped
    model = build(config, dtype=torch.bfloat16)
    model.save_pretrained(base, max_shard_size=shard_bytes)
    model = AutoModelForCausalLM.from_pretrained(
        base
    )  # which gives it the name that the adapter will say
    AutoTokenizer.from_pretrained(bundled_path("bundled:demo")).save_pretrained(base)
    adapted = get_peft_model(
        model, LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
    )
    adapted.save_pretrained(str(folder / "adapter"))
    return folder / "adapter"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--shard-mb", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapter = make_case(
            folder, layers=asked.layers, hidden=asked.hidden, shard_bytes=asked.shard_mb * 10**6
        )
        sizes = [path.stat().st_size for path in (folder / "base").glob("*.safetensors")]
        found = measure(adapter, folder / "merged")
        print(
            f"base: {sum(sizes) / 1e6:,.0f} MB in {len(sizes)} shards, the largest {max(sizes) / 1e6:,.0f} MB"
        )
        print(
            f"merge and comparison: {found['bytes'] / 1e6:,.0f} MB above the libraries, {found['bytes'] / max(sizes):.2f} "
            f"of the largest shard, {found['bytes'] / sum(sizes):.2f} of the model; {found['seconds']:.0f} processor seconds"
        )


if __name__ == "__main__":
    main()

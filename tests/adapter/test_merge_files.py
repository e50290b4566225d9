"""What a merge leaves behind when it is killed, fails or is refused, and how much memory it takes: in processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from benchmarks.merge import make_case, measure
from xtune.adapter.merge import merge
from xtune.errors import ModelError

pytestmark = [
    # an older name, which transformers 5.17 needs and peft 0.21 uses
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`", "ignore::UserWarning:peft"),
]

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="a process's own peak of memory is told on Linux alone"
)

KILLED = """
import os, signal, sys
from pathlib import Path
from xtune.adapter.merge import merge
def kill(done, total):
    if done == total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
merge(Path(sys.argv[1]), Path(sys.argv[2]), progress=kill)
"""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on a model of several shards."""
    return make_case(tmp_path_factory.mktemp("case"), layers=12, hidden=768, shard_bytes=40 * 10**6)


@LINUX
def test_a_merge_takes_the_memory_of_a_few_shards_and_not_of_the_model(
    adapter: Path, tmp_path: Path
) -> None:
    sizes = [path.stat().st_size for path in (adapter.parent / "base").glob("*.safetensors")]
    assert len(sizes) > 5
    taken = measure(adapter, tmp_path / "merged")["bytes"]
    # the comparison's float32 layer and activations weigh more beside a shard of 40 MB than beside one of 5 GB
    assert taken < 4 * max(sizes)
    assert taken < 0.75 * sum(sizes)


def test_a_killed_merge_leaves_no_folder_and_the_next_one_is_whole(
    adapter: Path, tmp_path: Path
) -> None:
    target = tmp_path / "merged"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(adapter), str(target)], check=False, capture_output=True
    )
    assert killed.returncode == -9
    assert not target.exists()
    assert (tmp_path / ".merged.writing").is_dir()
    merge(adapter, target)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert AutoModelForCausalLM.from_pretrained(target).num_parameters() > 0


def test_a_model_that_says_no_numbers_is_not_kept(adapter: Path, tmp_path: Path) -> None:
    broken = tmp_path / "adapter"
    broken.mkdir()
    (broken / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    state = load_file(adapter / "adapter_model.safetensors")
    state[next(iter(state))][0, 0] = float("inf")
    save_file(state, broken / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="not finite"):
        merge(broken, tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda shard: shard.unlink(), "lacks 1 of its"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-7]), "shorter than its header says"),
        (lambda shard: shard.write_bytes(b"not a tensor"), "no header that can be read"),
    ],
    ids=["missing", "cut", "garbage"],
)
def test_a_shard_that_is_not_whole_is_named_before_anything_is_written(
    damage: object, said: str, adapter: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in (adapter.parent / "base").iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    shard = sorted(base.glob("*.safetensors"))[2]
    assert callable(damage)
    damage(shard)
    copied = tmp_path / "adapter"
    copied.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(base)
    (copied / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    (copied / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match=said) as error:
        merge(copied, tmp_path / "merged")
    assert shard.name in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]

"""What a merge leaves behind when it is killed, fails or is refused, and how much memory it takes: in processes of its own."""

import errno
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.merge import make_case, measure
from xtune.adapter.merge import merge
from xtune.demo.bundled import bundled_path
from xtune.errors import Interrupted, ModelError, RunError
from xtune.models.tokenizer import save_tokenizer

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
    return make_case(tmp_path_factory.mktemp("case"), layers=6, hidden=768, shard_bytes=40 * 10**6)


@LINUX
def test_a_merge_takes_the_memory_of_a_few_shards_and_not_of_the_model(tmp_path: Path) -> None:
    adapter = make_case(tmp_path, layers=24, hidden=768, shard_bytes=40 * 10**6)
    sizes = [path.stat().st_size for path in (adapter.parent / "base").glob("*.safetensors")]
    assert len(sizes) > 10
    taken = measure(adapter, tmp_path / "merged")["bytes"]
    # a shard of 40 MB is light beside the comparison's float32 layer, so the whole model is the yardstick: 0.3 of it
    # were taken where this was written, and machines differ by a sixth
    assert taken < 0.6 * sum(sizes)


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


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system refuses the write, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_refused_write_leaves_nothing_and_says_so_in_one_line(tmp_path: Path) -> None:
    with largest_file(4 * 10**6), pytest.raises(RunError) as error:
        merge(bundled_path("bundled:tasks"), tmp_path / "merged")
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'merged'} could not be written: the file would be larger")
    assert "Nothing is left of it." in said
    assert said.endswith("then merge again.")
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled_path("bundled:demo"))
    with largest_file(64_000), pytest.raises(OSError, match="too large") as error:
        save_tokenizer(tokenizer, tmp_path)
    assert error.value.errno == errno.EFBIG


def test_an_interrupted_merge_leaves_nothing_and_the_next_one_is_whole(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt  # as Ctrl-C does

    with pytest.raises(Interrupted, match=r"merged was not made\. Nothing is left"):
        merge(bundled_path("bundled:tasks"), tmp_path / "merged", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    merge(bundled_path("bundled:tasks"), tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_a_tokenizer_is_written_in_words_that_older_transformers_know(tmp_path: Path) -> None:
    """Release 4.57.6 of transformers read such a folder; it has no class TokenizersBackend, and wants a mapping of extra tokens."""
    tokenizer = AutoTokenizer.from_pretrained(bundled_path("bundled:demo"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    save_tokenizer(tokenizer, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["additional_special_tokens"] == ["<|tool|>"]
    assert not {"extra_special_tokens", "is_local", "local_files_only"} & set(config)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "<|tool|> 東京 17"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.all_special_tokens == tokenizer.all_special_tokens
    assert again.chat_template == tokenizer.chat_template


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

"""`xtune export`: what is refused before anything is merged, and the commands of other tools."""

import importlib.util
import json
from pathlib import Path

import pytest
from adapted import with_adapter
from factories import make_tokenizer, save_model
from transformers import AutoModelForCausalLM

from xtune import api_results
from xtune.errors import MissingPackageError, RunError

# an older name, which transformers 5.17 needs and peft 0.21 uses
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")

HAS_AUTO_ROUND = importlib.util.find_spec("auto_round") is not None


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    base = save_model(tmp_path / "base")
    with_adapter(AutoModelForCausalLM.from_pretrained(base)).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_the_commands_of_llama_cpp_name_the_merged_folder(adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "my model"
    exported = api_results.export(adapter, target, to="gguf")
    assert AutoModelForCausalLM.from_pretrained(target).num_parameters() > 0
    (convert,) = [line for line in exported.commands if "convert_hf_to_gguf.py" in line]
    assert f"convert_hf_to_gguf.py '{target}' --outfile" in convert


def test_without_a_folder_the_run_and_the_format_name_it(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert api_results.export(adapter, to="mlx").folder == Path("adapter-mlx")
    assert AutoModelForCausalLM.from_pretrained("adapter-mlx").num_parameters() > 0


def test_a_whole_model_needs_no_merging(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", tokenizer=make_tokenizer())
    exported = api_results.export(base, tmp_path / "out", to="mlx")
    assert exported.folder == base
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(HAS_AUTO_ROUND, reason="auto-round is installed")
def test_without_autoround_the_pip_command_is_named_and_nothing_is_merged(
    adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingPackageError, match=r'pip install "xtune\[export\]"'):
        api_results.export(adapter, tmp_path / "out", to="awq")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_taken_folder_and_an_unknown_format_are_refused(adapter: Path) -> None:
    with pytest.raises(RunError, match="exists already"):
        api_results.export(adapter, adapter, to="gguf")
    with pytest.raises(RunError, match="There are awq, gptq, auto-round, gguf, mlx, fp8"):
        api_results.export(adapter, adapter, to="onnx")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_AUTO_ROUND, reason="needs auto-round")
def test_autoround_writes_four_bits_that_name_their_method(adapter: Path, tmp_path: Path) -> None:
    api_results.export(adapter, tmp_path / "out", to="gptq", steps=0)
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["quantization_config"]["quant_method"] == "gptq"
    assert config["quantization_config"]["bits"] == 4

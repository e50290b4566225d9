"""Where models come from, and what is said when they are not there."""

import json
from pathlib import Path

import pytest
from factories import save_model

from xtune.errors import MissingPackageError, ModelError
from xtune.models.source import fetch, read_config
from xtune.recipe.models import Model


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What HF_HUB_OFFLINE=1 does, so that no test waits for a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_folders_config_is_read_as_it_is(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "base")
    config = read_config(Model(name=str(folder)))
    assert (config["model_type"], config["hidden_size"]) == ("qwen3", 64)
    assert fetch(Model(name=str(folder)), weights=True) == folder


def test_a_tilde_means_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "base")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_config(Model(name="~/base"))["model_type"] == "qwen3"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", "nowhere"])
def test_a_path_that_does_not_exist_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        read_config(Model(name=name))


def test_a_folder_without_config_says_what_it_holds_instead(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        read_config(Model(name=str(tmp_path)))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="It is an adapter"):
        read_config(Model(name=str(tmp_path)))


def test_a_folder_above_the_model_points_at_it(tmp_path: Path) -> None:
    save_model(tmp_path / "inner")
    with pytest.raises(ModelError, match="did you mean that folder"):
        read_config(Model(name=str(tmp_path)))


def test_a_weight_file_is_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="is the file"):
        read_config(Model(name=str(path)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "must hold an object"),
        ("\udcff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_damaged_config_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=words):
        read_config(Model(name=str(tmp_path)))


def test_an_unknown_id_without_network_gives_the_offline_advice() -> None:
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        read_config(Model(name="nobody/nothing"))
    assert "HF_ENDPOINT" in str(caught.value)


def test_an_impossible_id_is_refused() -> None:
    with pytest.raises(ModelError, match="neither a folder here nor a valid id"):
        read_config(Model(name="no body/no thing"))


def test_modelscope_without_its_package_gives_the_pip_command() -> None:
    pytest.importorskip("xtune")
    try:
        import modelscope  # noqa: F401
    except ImportError:
        with pytest.raises(MissingPackageError, match=r'pip install "xtune\[modelscope\]"'):
            read_config(Model(name="Qwen/Qwen3-0.6B", hub="modelscope"))
    else:
        pytest.skip("modelscope is installed")


def test_reading_a_config_does_not_import_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    code = (
        "import sys; from xtune.models.source import read_config; from xtune.recipe.models import Model; "
        f"read_config(Model(name={str(tmp_path)!r})); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]

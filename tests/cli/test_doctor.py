"""`xtune doctor` as a person sees it, and its tries against kernels that are made to fail."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xtune.report.doctor import OPTIONAL, REQUIRED, Diagnosis, Package, diagnose, summary
from xtune.report.trials import METHODS, attempt, try_devices


@pytest.fixture(scope="module")
def found() -> Diagnosis:
    return diagnose()


def test_command_ends_with_zero_and_names_what_was_tried_and_what_was_not() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xtune", "doctor"],
        capture_output=True,
        text=True,
        timeout=600,
        env={"COLUMNS": "200", "PATH": "", "HOME": str(Path.home())},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for method in METHODS:
        assert method in done.stdout
    assert "not tried" in done.stdout
    for package in REQUIRED:
        assert importlib.metadata.version(package) in done.stdout
    assert "Traceback" not in done.stderr


def test_every_method_works_on_this_cpu(found: Diagnosis) -> None:
    on_cpu = {trial.what: trial.outcome for trial in found.trials if trial.device == "cpu"}
    assert dict.fromkeys(METHODS, "works").items() <= on_cpu.items()


def test_devices_that_torch_lacks_are_said_to_be_untried(found: Diagnosis) -> None:
    import torch

    has_cuda = torch.cuda.is_available() and torch.version.hip is None
    cuda = [trial for trial in found.trials if trial.device == "cuda"]
    assert cuda
    assert all((trial.outcome == "not tried") != has_cuda for trial in cuda)


def test_failure_is_reported_in_its_own_words() -> None:
    def fail() -> str:
        raise NotImplementedError("no kernel for this\nlong trace")

    trial = attempt("qlora nf4", "cuda", fail)
    assert trial.outcome == "fails"
    assert trial.detail == "NotImplementedError: no kernel for this"


def test_without_bitsandbytes_quantised_methods_name_the_command() -> None:
    trials = [each for each in try_devices(has_bitsandbytes=False) if each.device == "cpu"]
    quantised = [each for each in trials if each.what.startswith("qlora")]
    assert len(quantised) == 3
    assert all("pip install bitsandbytes" in each.detail for each in quantised)


def test_each_missing_package_has_an_exact_pip_command(found: Diagnosis) -> None:
    assert {each.name for each in found.packages} == {*REQUIRED, *OPTIONAL}
    for package in found.packages:
        assert package.command.startswith("pip install ")
    wandb = next(each for each in found.packages if each.name == "wandb")
    assert wandb.command == "pip install 'xtune[wandb]'"


def test_extras_in_the_commands_exist() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for _, argument in OPTIONAL.values():
        if "xtune[" in argument:
            extra = argument.split("[")[1].split("]")[0]
            assert f"\n{extra} = [" in text


def test_missing_required_package_is_an_exit_code_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    import click
    from typer.testing import CliRunner

    import xtune.report.doctor as library
    from xtune.cli.app import app

    monkeypatch.setitem(library.REQUIRED, "no-such-package-here", "no-such-package-here")
    monkeypatch.setattr("xtune.report.trials.DEVICES", ())
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "Install it: pip install no-such-package-here" in result.output
    assert isinstance(result.exception, SystemExit | click.exceptions.Exit)


def test_summary_gives_disk_and_memory_in_gib(found: Diagnosis) -> None:
    assert 0 < found.free_disk_bytes <= shutil.disk_usage(".").total
    line = next(each for each in summary(found) if each.startswith("free disk"))
    # in the same words whatever the disk holds by now
    assert float(line.split()[-2]) == pytest.approx(
        found.free_disk_bytes / 2**30, rel=0.01, abs=0.06
    )


def test_optional_packages_are_never_counted_as_missing() -> None:
    optional = Package(
        name="a", version=None, purpose="", command="pip install a", is_required=False
    )
    found = Diagnosis(hardware=None, trials=(), packages=(optional,), free_disk_bytes=1)
    assert found.missing == ()

"""A model without weights that knows which tensors of its files go where. It reads none of them."""

import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)

from xtune.adapter.vocabulary import grow_vocabulary
from xtune.errors import ModelError
from xtune.found import ADAPTER_WEIGHTS
from xtune.models.architecture import check_architecture
from xtune.models.load import Loading
from xtune.models.quiet import quiet
from xtune.models.source import read_config

_LAYER = re.compile(r"^(.*?\.\d+)\.")
"""A tensor's name up to the first number: a decoder layer's."""

_WRAPPED = (".base_layer", ".original_module", ".token_adapter")
"""What PEFT puts into the names of what it wraps."""

_OUTER = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A model whose parameters have shapes and no values; its buffers are computed."""

    model: PreTrainedModel
    rules: Sequence[Any]
    """How transformers renames, joins and cuts what is in files."""

    targets: Mapping[str, str]
    """A file's tensor to the model's tensor that it becomes, or the first of those made of it and others."""

    joined: frozenset[str]
    """The files' tensors that are not the model's one to one: experts that are stacked, say."""

    tied: Mapping[str, str]
    """The model's tensors that are not in the files to those that they share their values with."""

    def sources(self, name: str) -> list[str]:
        """The files' tensors that a tensor of the model is made of, or several of its kind."""
        held = self.tied.get(name, name)
        return [key for key, target in self.targets.items() if target == held]

    def parts(self) -> dict[str, list[str]]:
        """The model's tensors by the module that reads them: a decoder layer, or the tensor's own owner."""
        modules = {name for name, _ in self.model.named_modules()}
        parts: dict[str, list[str]] = {}
        for name in self.model.state_dict():
            match = _LAYER.match(name)
            owner = match[1] if match and match[1] in modules else name.rpartition(".")[0]
            parts.setdefault(owner, []).append(name)
        return parts

    def as_in_files(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors of the model cut, turned and named as the files have them."""
        # what `revert_weight_conversion` turns round; reading a part of a model leaves that part's rules there
        vars(self.model)["_weight_conversions"] = list(self.rules)
        found: dict[str, torch.Tensor] = revert_weight_conversion(self.model, dict(values))
        return found


def build_skeleton(loading: Loading, folder: Path, keys: Collection[str]) -> Skeleton:
    """The skeleton of a model.

    Args:
        loading: Whose attention and trust of remote code are taken.
        folder: The model's files.
        keys: The tensors in its files.

    Raises:
        ModelError: The model is not known, or its files do not hold all of it.
    """
    check_architecture(read_config(loading.model), loading.model)
    model = _build(loading, folder)
    _compute_buffers(model)
    nn.Module.train(model.requires_grad_(False), mode=False)
    rules = get_model_conversion_mapping(model)
    targets, joined = _targets(model, rules, keys)
    return Skeleton(
        model=model,
        rules=rules,
        targets=targets,
        joined=joined,
        tied=_tied(model, targets, joined, loading.model.name),
    )


def _build(loading: Loading, folder: Path) -> PreTrainedModel:
    """The model's modules, all parameters and buffers without values.

    Raises:
        ModelError: transformers or the model's own code cannot make it.
    """
    trust = loading.model.trust_remote_code
    # what is fast in training need not be there in float32 on a CPU, where transformers' own choice is
    attention = "eager" if loading.attention == "eager" else None
    build: Any = AutoModelForCausalLM.from_config  # untyped
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
            if hasattr(config, "quantization_config"):
                del config.quantization_config
            with torch.device("meta"):
                model = build(
                    config,
                    dtype=torch.float32,
                    attn_implementation=attention,
                    trust_remote_code=trust,
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(
            f"transformers {transformers.__version__} could not make {loading.model.name}: {reason}"
        ) from error
    if not isinstance(model, PreTrainedModel):
        raise ModelError(f"The model's own code made a {type(model).__name__}.")
    return model


def grow(skeleton: Skeleton, size: int) -> None:
    """Makes room for `size` tokens in embedding and head; never takes rows away."""
    with torch.device("meta"):
        grow_vocabulary(skeleton.model, size)
    nn.Module.requires_grad_(skeleton.model, False)
    untyped: Any = skeleton.model
    untyped.tie_weights()


def attach_adapter(skeleton: Skeleton, folder: Path) -> PeftModel:
    """The skeleton's model with a saved adapter, whose own tensors have their values, in float32.

    The skeleton's model is changed; build another for another purpose.

    Raises:
        ModelError: The adapter is damaged, or was trained on another model.
    """
    weights = folder / ADAPTER_WEIGHTS
    try:
        state = load_file(weights)
        state = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
        with quiet():
            model = PeftModel.from_pretrained(
                skeleton.model, str(folder), low_cpu_mem_usage=True, autocast_adapter_dtype=False
            )
            result: Any = set_peft_model_state_dict(model, dict(state), low_cpu_mem_usage=True)
            own = get_peft_model_state_dict(
                model, state_dict=model.state_dict(keep_vars=True), save_embedding_layers=False
            )
    except FileNotFoundError:
        raise ModelError(f"The adapter in {folder} has no {ADAPTER_WEIGHTS}.") from None
    except SafetensorError as error:
        raise ModelError(f"{weights} is damaged: {error}.") from error
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split("\n\t", maxsplit=2)[:2]).strip()
        raise ModelError(
            f"The adapter in {folder} does not fit its base: {reason}",
            advice="It was trained on another model.",
        ) from error
    strange = sorted([*(set(own) - set(state)), *result.unexpected_keys])
    if strange:
        raise ModelError(
            f"The adapter in {folder} and its base differ in {len(strange)} tensors, {strange[0]} among them.",
            advice="It was trained on another model.",
        )
    _give_values(model, {id(own[name]): value for name, value in state.items() if name in own})
    model.requires_grad_(False)
    return model.eval()


def _give_values(model: PeftModel, values: Mapping[int, torch.Tensor]) -> None:
    """Put tensors in the places of parameters: PEFT moves an adapter to where its base is, and this one's is nowhere."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in values:
                module._parameters[name] = nn.Parameter(values[id(parameter)], requires_grad=False)


def wrapped_tensors(model: PeftModel, names: Collection[str]) -> dict[str, tuple[nn.Module, str]]:
    """Of each of the base's tensors: the module that holds it now, and its name there."""
    found: dict[str, tuple[nn.Module, str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        own = [*module._parameters, *module._buffers]
        plain = plain_name(path)
        for name in own:
            full = f"{plain}.{name}" if plain else name
            if full in names and full not in found:
                found[full] = (module, name)
    return found


def adapted_by(model: PeftModel, name: str) -> nn.Module | None:
    """PEFT's outermost module around the owner of one of the base's tensors; None if there is none."""
    owner: nn.Module = model.get_base_model()
    for part in name.split(".")[:-1]:
        owner = owner.get_submodule(part)
        if isinstance(owner, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            return owner
    return None


def plain_name(path: str) -> str:
    """A name in the base of what has this name inside PEFT's model."""
    path = path.removeprefix(_OUTER) if path.startswith(_OUTER) else path
    for part in _WRAPPED:
        path = path.replace(part, "")
    return path


def _compute_buffers(model: PreTrainedModel) -> None:
    """Gives the buffers of a model without weights their values, as transformers does when it reads one."""
    for parameter in model.parameters():
        vars(parameter)["_is_hf_initialized"] = True
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.zeros_like(buffer, device="cpu")
    untyped: Any = model
    with quiet():
        untyped.initialize_weights()


def _targets(
    model: PreTrainedModel, rules: Sequence[Any], keys: Collection[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """Where each tensor of the files goes, as transformers' reader decides it; those of no use are left out."""
    remembering = deepcopy(list(rules))  # some of them remember what they saw
    renamings = [rule for rule in remembering if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in remembering if isinstance(rule, WeightConverter)]
    own = model.state_dict()
    targets: dict[str, str] = {}
    joined: set[str] = set()
    for key in keys:
        renamed, merged = rename_source_key(
            key, renamings, converters, model.base_model_prefix, own
        )
        if renamed not in own and key in own:
            renamed, merged = key, None
        if merged is not None or renamed in own:
            targets[key] = renamed
        if merged is not None:
            joined.add(key)
    return targets, frozenset(joined)


def _tied(
    model: PreTrainedModel, targets: Mapping[str, str], joined: frozenset[str], name: str
) -> dict[str, str]:
    """The model's parameters that no file has, and those that they share values with.

    Raises:
        ModelError: The files lack a parameter.
    """
    untyped: Any = model
    same: Mapping[str, str] = getattr(untyped, "all_tied_weights_keys", {})
    partners = {**{value: key for key, value in same.items()}, **same}
    held = set(targets.values())
    tied = {}
    lost = []
    several = any(key in joined for key in targets)
    for each, _ in model.named_parameters(remove_duplicate=False):
        if each in held:
            continue
        if partners.get(each) in held:
            tied[each] = partners[each]
        elif not several:  # of tensors that are cut into several only the first is named
            lost.append(each)
    if lost:
        raise ModelError(
            f"{name} lacks {len(lost)} of the model's tensors, {lost[0]} among them.",
            advice="Its config.json and its weights do not belong together, or a download is incomplete.",
        )
    return tied

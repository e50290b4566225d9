"""Modules that are trained in full beside an adapter (PEFT's `modules_to_save`): how much of a model they are. Closed formulas."""

from dataclasses import dataclass
from functools import lru_cache

from xtune.memory.families import own_name
from xtune.memory.linear import Linear
from xtune.memory.shape import ModelShape


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a recipe's names mean in a model."""

    entries: int = 0
    """All of it; one matrix that is embedding and head once."""

    head: bool = False
    embedding: bool = False
    last_norm: bool = False
    in_layer: int = 0
    """Entries of one decoder layer, the most."""

    read: int = 0
    """Numbers a token that its linear layers among them read, each its own copy."""

    normalised: int = 0
    """Numbers a token that its norms among them give."""

    matrices: tuple[Linear, ...] = ()
    """Its linear layers among them."""

    @property
    def has_table(self) -> bool:
        """Whether embedding or head is among it."""
        return self.head or self.embedding


@dataclass(frozen=True)
class _Part:
    """A module of a decoder layer."""

    entries: int
    read: int = 0
    normalised: int = 0
    linear: Linear | None = None


@lru_cache(maxsize=64)
def saved_modules(shape: ModelShape, names: tuple[str, ...]) -> Saved:
    """Add up the modules whose full names end in one of `names`: by letters, as PEFT 0.21 looks, so that `norm` is every norm.

    Of two tables that are one matrix both are trained with either.
    """
    if not names:
        return Saved()

    def is_named(module: str) -> bool:
        return any(module.endswith(name) for name in names)

    embedding, head = (is_named(table) for table in table_names(shape))
    if shape.tied:
        embedding = head = embedding or head
    tables = int(embedding) + int(head and not shape.tied)
    entries = tables * shape.embedding_parameters
    last = last_norm_name(shape)
    entries += shape.norm_entries if is_named(last) else 0
    layers = []
    for number in range(shape.layers):
        parts = _parts(shape).items()
        found = [
            part for name, part in parts if is_named(f"{_backbone(shape)}.layers.{number}.{name}")
        ]
        layers.append(
            Saved(
                in_layer=sum(part.entries for part in found),
                read=sum(part.read for part in found),
                normalised=sum(part.normalised for part in found),
                matrices=tuple(part.linear for part in found if part.linear is not None),
            )
        )
    return Saved(
        entries=entries + sum(layer.in_layer for layer in layers),
        head=head,
        embedding=embedding,
        last_norm=is_named(last),
        in_layer=max((layer.in_layer for layer in layers), default=0),
        read=max((layer.read for layer in layers), default=0),
        normalised=max((layer.normalised for layer in layers), default=0),
        matrices=max((layer.matrices for layer in layers), key=len, default=()),
    )


def table_names(shape: ModelShape) -> tuple[str, str]:
    """Full names of embedding and head."""
    return f"{_backbone(shape)}.{own_name(shape.model_type, 'embed_tokens')}", own_name(
        shape.model_type, "lm_head"
    )


def last_norm_name(shape: ModelShape) -> str:
    """Full name of the norm before the head."""
    return f"{_backbone(shape)}.{own_name(shape.model_type, 'norm')}"


def _backbone(shape: ModelShape) -> str:
    return own_name(shape.model_type, "model")


def block_names(shape: ModelShape) -> tuple[str, str]:
    """What a decoder layer calls its attention and its feed-forward block."""
    return own_name(shape.model_type, "self_attn"), own_name(shape.model_type, "mlp")


def module_names(shape: ModelShape) -> list[str]:
    """Full names of the modules of all decoder layers that have parameters."""
    parts, backbone = _parts(shape), _backbone(shape)
    return [f"{backbone}.layers.{layer}.{name}" for layer in range(shape.layers) for name in parts]


def _parts(shape: ModelShape) -> dict[str, _Part]:
    """The modules of one decoder layer by name; of a model some of whose layers have experts, both kinds of block."""
    attention, block = block_names(shape)
    linears = {f"{attention}.{each.name}": each for each in shape.attention_linears}
    if shape.expert_layers < shape.layers:
        linears |= {f"{block}.{each.name}": each for each in shape.mlp_linears}
    parts = {
        name: _Part(each.parameters, read=each.inputs, linear=each)
        for name, each in linears.items()
    }
    norms = ["input_layernorm"] if shape.norms_before else ["post_feedforward_layernorm"]
    norms += ["post_attention_layernorm"] if shape.norms > 1 else []
    if shape.norms > len(norms):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    parts |= {
        own_name(shape.model_type, name): _Part(shape.norm_entries, normalised=shape.hidden)
        for name in norms
        if shape.norm_entries
    }
    if shape.activation == "xielu":
        parts[f"{block}.act_fn"] = _Part(2)
    if shape.query_key_norm != "none":
        for name, width in (("q_norm", shape.query_width), ("k_norm", shape.kv_width)):
            own = width if shape.query_key_norm == "full" else shape.head_dim
            parts[f"self_attn.{own_name(shape.model_type, name)}"] = _Part(own, normalised=width)
    if shape.latent is not None:
        latents = {"q_a_layernorm": shape.latent.queries, "kv_a_layernorm": shape.latent.keys}
        parts |= {
            f"self_attn.{name}": _Part(width, normalised=width) for name, width in latents.items()
        }
    if shape.expert_layers:
        wide = 3 * shape.hidden * shape.expert_intermediate
        parts["mlp.experts"] = _Part(shape.experts * wide, read=shape.hidden)
        parts["mlp.gate"] = _Part(shape.experts * shape.hidden, read=shape.hidden)
    return parts

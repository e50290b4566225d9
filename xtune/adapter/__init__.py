"""What is trained on a base model: adapters attached, grouped for the optimizer, saved, reopened, merged."""

from xtune.models.quiet import quiet

with quiet():
    # PEFT imports bitsandbytes, which on some CPUs tells of a package that it can do without
    import peft as _peft

__all__: list[str] = []
del _peft

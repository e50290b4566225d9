"""`python -m xtune`, which is also what `torchrun -m xtune` starts."""

from xtune.cli.start import main

main()

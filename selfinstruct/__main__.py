"""`python -m selfinstruct`."""

from selfinstruct.cli.start import main

main()

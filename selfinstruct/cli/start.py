"""The first thing that the `selfinstruct` command runs: signals end it quietly from here on; the verbs are in `app.py`."""

from xtune.cli.start import catch_signals


def main() -> None:
    """Run the command line, interruptible while it loads."""
    catch_signals()
    from selfinstruct.cli.app import main as run_verb

    run_verb()

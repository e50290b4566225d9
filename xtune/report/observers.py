"""Who listens to a run by default: the progress display, the picture, TensorBoard and the trackers asked for, the cards."""

from xtune.plan import Plan
from xtune.report.card import CardWriter
from xtune.report.picture import LossPicture
from xtune.report.progress import progress
from xtune.report.trackers import trackers
from xtune.run.observer import Observer


def observers_for(plan: Plan) -> list[Observer]:
    """The observers of a run's main process, in the order they are told.

    Raises:
        MissingPackageError: A tracker that the recipe names is not installed.
    """
    # the progress display comes first, so that its last line does not wait for the drawing of the picture
    return [progress(), LossPicture(), *trackers(plan.recipe), CardWriter()]

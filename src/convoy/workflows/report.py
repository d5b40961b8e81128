"""Show the report of a training in a notebook."""

from convoy.console.notebook import in_notebook, show_page
from convoy.errors import ConfigError, TrackingError
from convoy.tracking.search import artifact_text
from convoy.workflows.results import TrainResult

_FILE = "report.html"


def show_report(run: TrainResult | str, height: int = 700) -> None:
    """Show the report of a training below the cell of a notebook.

    Args:
        run: The result of ``train``, or the id of a run at MLflow's current tracking URI.
        height: Height of the frame in pixels.

    Raises:
        ConfigError: This program is not a notebook.
        TrackingError: There is no such run, or it has no report.
    """
    run_id = run if isinstance(run, str) else run.run_id
    if not in_notebook():
        raise ConfigError(
            "show_report needs a notebook; elsewhere download the page: mlflow artifacts download --run-id"
            f" {run_id} --artifact-path {_FILE} --dst-path ."
        )
    page = artifact_text(run_id, _FILE)
    if page is None:
        raise TrackingError(f"run {run_id} has no {_FILE}; train with tracking.report true")
    show_page(page, height)

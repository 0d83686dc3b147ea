"""A progress bar on stderr, for a terminal and for anything over a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DELAY_S = 1.0


class ProgressBar:
    """A callable that takes the finished fraction; rich is imported when the bar first shows."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, fraction: float) -> None:
        """Show ``fraction`` (0 to 1) once the work has taken longer than ``DELAY_S``."""
        if self._progress is None:
            if time.monotonic() - self._started < DELAY_S:
                return
            self._show()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=min(1.0, max(0.0, fraction)))

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(self._label, total=1.0)
        self._progress.start()


def wants_progress() -> bool:
    """Whether stderr is a terminal; a log file gets no bar."""
    return sys.stderr.isatty()

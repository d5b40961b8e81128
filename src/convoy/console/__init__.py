"""Output for people: lines, tables and progress, all on stderr; stdout is reserved for the JSON line.

In a terminal Rich draws tables and progress bars. In a notebook, lines, HTML tables and a progress bar by Rich appear
below the cell. Elsewhere (pipes, CI, driver logs) the output is plain text. Rich is imported when it is first needed,
because that takes as long as the rest of a command's start.
"""

from convoy.console.output import say
from convoy.console.progress import Progress, clock
from convoy.console.table import Table, as_html

__all__ = ["Progress", "Table", "as_html", "clock", "say"]

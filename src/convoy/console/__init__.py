"""Output for people: lines, tables and progress, all on stderr; stdout is reserved for the JSON line.

In a terminal Rich draws tables and progress bars. Elsewhere (pipes, CI, notebooks, driver logs) the output is plain
text. Rich is imported when it is first needed, because that takes as long as the rest of a command's start.
"""

from convoy.console.output import say
from convoy.console.progress import Progress, clock
from convoy.console.table import Table

__all__ = ["Progress", "Table", "clock", "say"]

"""Work in two processes that stay, each with its part of a table in memory."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

PROCESSES = 2


def in_processes(make: Callable[..., tuple[int, Callable[[], None]]], *arguments: object) -> Callable[[], int]:
    """Start the processes; what is returned lets all of them do their work once, and returns the rows of all.

    Args:
        make: In each process: (number, *arguments) -> its rows, and its work.
        arguments: Of ``make``.
    """
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, make, number, *arguments), daemon=True).start()
        pipes.append(ours)
    rows = sum(pipe.recv() for pipe in pipes)  # the data are in memory, and it was done once

    def epoch() -> int:
        for pipe in pipes:
            pipe.send(None)
        for pipe in pipes:
            pipe.recv()
        return rows

    return epoch


def chunks(table: str, column: str, number: int) -> list:
    """A process's part of a column, from every second file."""
    import pyarrow.parquet as pq

    paths = sorted(Path(table).glob("*.parquet"))[number::PROCESSES]
    return [chunk for path in paths for chunk in pq.read_table(path, columns=[column]).column(column).chunks]


def _serve(pipe, make: Callable[..., tuple[int, Callable[[], None]]], *arguments: object) -> None:
    rows, run = make(*arguments)
    run()
    pipe.send(rows)
    while True:
        pipe.recv()
        run()
        pipe.send(None)

"""The JPEG decoder alone in two processes, data in memory: score_decoder.py TABLE HEIGHT WIDTH.

HEIGHT and WIDTH are the least that are asked for: the decoder takes the smallest scale that gives them.
"""

import sys
from collections.abc import Callable

from epochs import serve
from in_processes import chunks, in_processes


def make(number: int, table: str, height: str, width: str) -> tuple[int, Callable[[], None]]:
    """In each process: all of its files, whose pixels are dropped."""
    import simplejpeg

    files = [value.as_py() for chunk in chunks(table, "content", number) for value in chunk]
    least = {"min_height": int(height), "min_width": int(width)}

    def run() -> None:
        for file in files:
            simplejpeg.decode_jpeg(file, "RGB", **least)

    return len(files), run


if __name__ == "__main__":
    serve(lambda: in_processes(make, *sys.argv[1:]), ["simplejpeg"])

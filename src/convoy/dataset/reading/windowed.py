"""Images from the files of a split, window by window, in bounded memory.

One thread reads the next window while this one is used. Of a window's row groups only the samples of this rank are
kept, each once: pixels with codec ``raw``, else encoded files, which are decoded a few batches ahead of their use.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from convoy.dataset.reading.buffers import Buffers
from convoy.dataset.reading.decode_pool import Decoder
from convoy.dataset.reading.epoch_plan import EpochPlan, RankBatch
from convoy.dataset.reading.split_files import SplitFiles
from convoy.dataset.storage.manifest import Manifest

_NOTHING = memoryview(b"")
_AHEAD = 2  # batches that are being decoded while another one is used

Images = tuple[np.ndarray, np.ndarray | None]
"""Images (n, *shape) of a share's own samples, and those of its partners."""


@dataclass(frozen=True)
class _Window:
    """The samples of some row groups that a rank needs.

    Attributes:
        end: Position in the epoch's order behind the window's last sample.
        rows: int64 (n,), numbers of the samples, ascending.
        images: (n, *shape), with codec ``raw``.
        files: n encoded files, with other codecs; views of the data that was read.
    """

    end: int
    rows: np.ndarray
    images: np.ndarray
    files: list[memoryview]

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices in ``rows`` of the samples that are in this window, and their places."""
        places = np.searchsorted(self.rows, rows)
        here = np.flatnonzero(self.rows.take(places, mode="clip") == rows) if len(self.rows) else places[:0]
        return here, places[here]


@dataclass(frozen=True)
class _Pending:
    """A batch that is being decoded: its distinct images, and their assignment to samples and partners."""

    tasks: list[Future[None]]
    decoded: np.ndarray
    own: np.ndarray | None
    partners: np.ndarray | None

    def images(self) -> Images:
        for task in self.tasks:
            task.result()
        if self.own is None or self.partners is None:
            return self.decoded, None
        return self.decoded[self.own], self.decoded[self.partners]


class Stream:
    """Reader of the images of a rank's batches.

    Args:
        files: Files of the split.
        manifest: Manifest of the version.
        threads: Number of decoding threads.
    """

    def __init__(self, files: SplitFiles, manifest: Manifest, threads: int) -> None:
        self._files, self._manifest = files, manifest
        self._buffers = Buffers()
        self._decoder = None if manifest.codec == "raw" else Decoder(files, threads)

    def images(self, plan: EpochPlan, shares: list[RankBatch]) -> Generator[Images, None, None]:
        """Yield the images of each share, in turn."""
        with closing(self._held(plan, shares)) as held:
            if self._decoder is None:
                for share, windows in held:
                    partners = None if share.partners is None else self._gather(windows, plan.order[share.partners])
                    yield self._gather(windows, plan.order[share.own]), partners
            else:
                yield from self._decoded(self._decoder, plan.order, held)

    def close(self) -> None:
        """Stop the threads."""
        if self._decoder:
            self._decoder.close()

    def _gather(self, windows: list[_Window], rows: np.ndarray) -> np.ndarray:
        images = self._buffers.empty((len(rows), *self._manifest.shape), self._manifest.dtype)
        if len(windows) == 1:
            places = np.searchsorted(windows[0].rows, rows)
            return windows[0].images.take(places, axis=0, out=images, mode="clip")  # other modes than "clip" copy twice
        for window in windows:
            here, places = window.find(rows)
            images[here] = window.images[places]
        return images

    def _held(self, plan: EpochPlan, shares: list[RankBatch]) -> Generator[tuple[RankBatch, list[_Window]], None, None]:
        """Yield each share with the windows of its global batch; other windows are dropped, or not read yet."""
        held: list[_Window] = []
        with closing(self._windows(plan, shares)) as windows:
            for share in shares:
                held = [window for window in held if window.end > share.start]
                while (held[-1].end if held else 0) < share.stop:
                    # Bind no name to the window: it would keep the last one alive while the next one is awaited.
                    held.extend(window for window in (next(windows),) if window.end > share.start)
                yield share, held

    def _windows(self, plan: EpochPlan, shares: list[RankBatch]) -> Generator[_Window, None, None]:
        """Yield the windows in turn, with the samples that the shares need; a thread reads one window ahead."""
        needed = [part for share in shares for part in (share.own, share.partners) if part is not None]
        positions = np.sort(np.concatenate([np.empty(0, np.int64), *needed]))
        parts = np.split(positions, np.searchsorted(positions, plan.window_ends[:-1]))
        thread = ThreadPoolExecutor(1, "read-ahead")
        try:
            pending: Future[_Window] | None = None
            for groups, part, end in zip(plan.window_groups, parts, plan.window_ends, strict=True):
                following = thread.submit(self._load, groups, plan.order[part], int(end))
                if pending:
                    yield pending.result()
                pending = following
            if pending:
                yield pending.result()
        finally:
            thread.shutdown(cancel_futures=True)

    def _load(self, groups: np.ndarray, rows: np.ndarray, end: int) -> _Window:
        rows = np.unique(rows)
        raw = self._decoder is None
        images = np.empty((len(rows) if raw else 0, *self._manifest.shape), self._manifest.dtype)
        encoded: list[memoryview] = []
        parts = {}
        for number in np.sort(groups):
            group = self._files.groups[number]
            part = slice(*np.searchsorted(rows, [group.first, group.first + group.rows]))
            if part.stop > part.start:
                parts[group] = part
        for group in self._files.read_ahead(list(parts)):
            part = parts[group]
            within = rows[part] - group.first
            if raw:
                stored = self._files.raw_images(group)
                images[part] = stored if len(within) == len(stored) else stored[within]
            else:
                encoded += self._files.encoded_images(group, within)
        return _Window(end, rows, images, encoded)

    def _decoded(
        self, decoder: Decoder, order: np.ndarray, held: Iterable[tuple[RankBatch, list[_Window]]]
    ) -> Iterator[Images]:
        """Yield the images of shares from encoded files, while the next batches are being decoded."""
        pending: deque[_Pending] = deque()
        try:
            for share, windows in held:
                pending.append(self._begin(decoder, order, share, windows))
                if len(pending) > _AHEAD:
                    yield pending.popleft().images()
            while pending:
                yield pending.popleft().images()
        finally:
            for batch in pending:
                for task in batch.tasks:
                    task.cancel()

    def _begin(self, decoder: Decoder, order: np.ndarray, share: RankBatch, windows: list[_Window]) -> _Pending:
        rows = order[share.own]
        own = partners = None
        if share.partners is not None:  # with one rank the partners are the same samples: each is decoded once
            rows, places = np.unique(np.concatenate([rows, order[share.partners]]), return_inverse=True)
            own, partners = places[: len(share.own)], places[len(share.own) :]
        values = [_NOTHING] * len(rows)
        for window in windows:
            for here, place in zip(*window.find(rows), strict=True):
                values[here] = window.files[place]
        decoded = self._buffers.empty((len(rows), *self._manifest.shape), "uint8")
        return _Pending(decoder.start(values, rows, decoded), decoded, own, partners)

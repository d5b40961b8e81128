"""Convolution arithmetic: the output size of filters, and the nearest values that fit. Pure: no Keras.

V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016 (arXiv:1603.07285), in the terms of
Stanford's CS231n: N is the input's side, F the filter's, S the stride, P the padding on one side, and
``(N - F + 2P)/S + 1`` is the output's side.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True)
class Window:
    """A filter, or a pooling window, along one axis.

    Attributes:
        size: F, in values.
        stride: S, the distance between two places.
        dilation: Distance between the filter's values.
        before: Zeros before the input.
        after: Zeros after the input.
    """

    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """Return the distance from the filter's first to its last value, inclusive: its size, unless it is dilated."""
        return (self.size - 1) * self.dilation + 1

    def room(self, side: int) -> int:
        """Return how far the filter can move over an input of that side; negative if the filter is larger."""
        return side - self.extent + self.before + self.after

    def output(self, side: int) -> int:
        """Return the output's side, rounded down; below 1 if the filter is larger than the input."""
        return self.room(side) // self.stride + 1

    def rest(self, side: int) -> int:
        """Return the number of values at the end of the (padded) input that the filter does not reach."""
        return self.room(side) % self.stride

    def formula(self, side: int) -> str:
        """Return the formula ``(N - F + 2P)/S + 1`` with its numbers and its result."""
        zeros = f"2*{self.before}" if self.before else "0"
        if self.before != self.after:
            zeros = f"{self.before} + {self.after}"
        result = number(Fraction(self.room(side), self.stride) + 1)
        return f"({side} - {self.extent} + {zeros})/{self.stride} + 1 = {result}"

    def strides_that_fit(self, side: int) -> list[int]:
        """Return up to three strides nearest to this one that leave no remainder and no gaps between two places."""
        return _nearest(self.stride, (s for s in range(1, self.extent + 1) if self.room(side) % s == 0), 3)

    def sizes_that_fit(self, side: int) -> list[int]:
        """Return the nearest smaller and the nearest larger filter size that leave no remainder."""
        return _around(self.size, (size for size in range(1, side + 1) if self._with(size).fits(side)))

    def sides_that_fit(self, side: int) -> list[int]:
        """Return the nearest smaller and the nearest larger input side without a remainder."""
        return _around(side, (n for n in range(1, side + self.extent + self.stride) if self.fits(n)))

    def fits(self, side: int) -> bool:
        """Return whether the filter covers an input of that side exactly, and the output is not empty."""
        return self.room(side) >= 0 and self.rest(side) == 0

    def largest_size(self, side: int) -> int:
        """Return the size of the largest filter whose output is not empty; 0 if there is none."""
        return max(0, (side + self.before + self.after - 1) // self.dilation + 1)

    def smallest_side(self) -> int:
        """Return the smallest side of an input for which the output is not empty."""
        return max(1, self.extent - self.before - self.after)

    def _with(self, size: int) -> "Window":
        return Window(size, self.stride, self.dilation, self.before, self.after)


def same(side: int, size: int, stride: int = 1, dilation: int = 1) -> Window:
    """Return TensorFlow's window of padding ``same``: the output is ceil(side / stride), an odd zero is at the end."""
    extent = (size - 1) * dilation + 1
    zeros = max(0, (-(-side // stride) - 1) * stride + extent - side)
    return Window(size, stride, dilation, zeros // 2, zeros - zeros // 2)


@dataclass(frozen=True)
class Field:
    """The receptive field of a value in the network's input, along each axis.

    After A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.

    Attributes:
        size: Side of the receptive field. With padding it can be larger than the input.
        jump: Distance between the fields of two neighbours; a fraction after upsampling.
    """

    size: tuple[Fraction, ...]
    jump: tuple[Fraction, ...]

    def through(self, windows: Sequence[Window]) -> "Field":
        """Return the field after filters of these windows."""
        pairs = list(zip(windows, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (window.extent - 1) * jump for window, size, jump in pairs),
            tuple(window.stride * jump for window, _, jump in pairs),
        )

    def through_transposed(self, windows: Sequence[Window]) -> "Field":
        """Return the field after transposed filters: an output depends on at most ceil(F / S) neighbours."""
        pairs = list(zip(windows, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (-(-window.extent // window.stride) - 1) * jump for window, size, jump in pairs),
            tuple(jump / window.stride for window, _, jump in pairs),
        )

    def enlarged(self, factors: Sequence[int], neighbours: int) -> "Field":
        """Return the field after upsampling; an output depends on ``neighbours`` values (1: nearest, 2: bilinear)."""
        pairs = list(zip(factors, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (neighbours - 1) * jump for _, size, jump in pairs),
            tuple(jump / factor for factor, _, jump in pairs),
        )


def widest(fields: Sequence[Field]) -> Field:
    """Return the field of merged branches: the largest of them along each axis."""
    return Field(
        tuple(max(sizes) for sizes in zip(*(field.size for field in fields), strict=True)),
        tuple(max(jumps) for jumps in zip(*(field.jump for field in fields), strict=True)),
    )


def number(value: Fraction) -> str:
    """Return a number as text, with at most two decimals: ``28``, ``112.5``, ``2.33``."""
    return str(int(value)) if value.denominator == 1 else f"{float(value):.2f}".rstrip("0")


def times(sides: Iterable[object]) -> str:
    """Return sides as text, e.g. ``28x28x5``."""
    return "x".join("?" if side is None else str(side) for side in sides)


def _nearest(given: int, fitting: Iterable[int], count: int) -> list[int]:
    return sorted(sorted(fitting, key=lambda value: abs(value - given))[:count])


def _around(given: int, fitting: Iterable[int]) -> list[int]:
    values = list(fitting)
    below, above = [value for value in values if value < given], [value for value in values if value > given]
    return [*below[-1:], *above[:1]]

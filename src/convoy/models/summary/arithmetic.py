"""The arithmetic of filters that slide over an input: what comes out, and what would fit. Pure: no Keras.

V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016 (arXiv:1603.07285), in the terms of
Stanford's CS231n: N is the input's side, F the filter's, S the stride, P the padding on one side, and
``(N - F + 2P)/S + 1`` values come out.
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
        stride: S: from one place to the next.
        dilation: Distance of the filter's own values.
        before: Zeros in front of the input.
        after: Zeros behind it.
    """

    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        """Values from the filter's first to its last: its size, unless it is dilated."""
        return (self.size - 1) * self.dilation + 1

    def room(self, side: int) -> int:
        """How far the filter can be moved over an input of that side; below 0 where it is larger than that."""
        return side - self.extent + self.before + self.after

    def output(self, side: int) -> int:
        """Values that come out, rounded down; below 1 where the filter is larger than the input."""
        return self.room(side) // self.stride + 1

    def rest(self, side: int) -> int:
        """Values at the end of the (padded) input that no place of the filter reaches."""
        return self.room(side) % self.stride

    def formula(self, side: int) -> str:
        """``(N - F + 2P)/S + 1`` with its numbers and its result."""
        zeros = f"2*{self.before}" if self.before else "0"
        if self.before != self.after:
            zeros = f"{self.before} + {self.after}"
        result = number(Fraction(self.room(side), self.stride) + 1)
        return f"({side} - {self.extent} + {zeros})/{self.stride} + 1 = {result}"

    def strides_that_fit(self, side: int) -> list[int]:
        """Up to three strides nearest to this one that leave no rest and skip nothing between two places."""
        return _nearest(self.stride, (s for s in range(1, self.extent + 1) if self.room(side) % s == 0), 3)

    def sizes_that_fit(self, side: int) -> list[int]:
        """The nearest smaller and the nearest larger filter that leave no rest."""
        return _around(self.size, (size for size in range(1, side + 1) if self._with(size).fits(side)))

    def sides_that_fit(self, side: int) -> list[int]:
        """The nearest smaller and the nearest larger input of which no rest is left."""
        return _around(side, (n for n in range(1, side + self.extent + self.stride) if self.fits(n)))

    def fits(self, side: int) -> bool:
        """Whether the filter reaches everything of an input of that side, and something comes out."""
        return self.room(side) >= 0 and self.rest(side) == 0

    def largest_size(self, side: int) -> int:
        """The largest filter out of which something comes; 0 for none."""
        return max(0, (side + self.before + self.after - 1) // self.dilation + 1)

    def smallest_side(self) -> int:
        """Of an input out of which something comes."""
        return max(1, self.extent - self.before - self.after)

    def _with(self, size: int) -> "Window":
        return Window(size, self.stride, self.dilation, self.before, self.after)


def same(side: int, size: int, stride: int = 1, dilation: int = 1) -> Window:
    """The window of padding ``same`` as TensorFlow has it: ceil(side / stride) values come out, odd zeros go behind."""
    extent = (size - 1) * dilation + 1
    zeros = max(0, (-(-side // stride) - 1) * stride + extent - side)
    return Window(size, stride, dilation, zeros // 2, zeros - zeros // 2)


@dataclass(frozen=True)
class Field:
    """What of the network's input a value depends on, along each axis.

    After A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.

    Attributes:
        size: Side of the receptive field. With padding it can be larger than the input.
        jump: Distance between the fields of two neighbours; a fraction after upsampling.
    """

    size: tuple[Fraction, ...]
    jump: tuple[Fraction, ...]

    def through(self, windows: Sequence[Window]) -> "Field":
        """The field after filters of these windows."""
        pairs = list(zip(windows, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (window.extent - 1) * jump for window, size, jump in pairs),
            tuple(window.stride * jump for window, _, jump in pairs),
        )

    def through_transposed(self, windows: Sequence[Window]) -> "Field":
        """The field after transposed filters: an output depends on ceil(F / S) neighbours at most."""
        pairs = list(zip(windows, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (-(-window.extent // window.stride) - 1) * jump for window, size, jump in pairs),
            tuple(jump / window.stride for window, _, jump in pairs),
        )

    def enlarged(self, factors: Sequence[int], neighbours: int) -> "Field":
        """The field after upsampling, where an output depends on so many neighbours (1: nearest, 2: bilinear)."""
        pairs = list(zip(factors, self.size, self.jump, strict=True))
        return Field(
            tuple(size + (neighbours - 1) * jump for _, size, jump in pairs),
            tuple(jump / factor for factor, _, jump in pairs),
        )


def widest(fields: Sequence[Field]) -> Field:
    """The field where branches meet: along each axis the largest of them."""
    return Field(
        tuple(max(sizes) for sizes in zip(*(field.size for field in fields), strict=True)),
        tuple(max(jumps) for jumps in zip(*(field.jump for field in fields), strict=True)),
    )


def number(value: Fraction) -> str:
    """A whole number as it is, others with two digits at most: ``28``, ``112.5``, ``2.33``."""
    return str(int(value)) if value.denominator == 1 else f"{float(value):.2f}".rstrip("0")


def times(sides: Iterable[object]) -> str:
    """``28x28x5``."""
    return "x".join("?" if side is None else str(side) for side in sides)


def _nearest(given: int, fitting: Iterable[int], count: int) -> list[int]:
    return sorted(sorted(fitting, key=lambda value: abs(value - given))[:count])


def _around(given: int, fitting: Iterable[int]) -> list[int]:
    values = list(fitting)
    below, above = [value for value in values if value < given], [value for value in values if value > given]
    return [*below[-1:], *above[:1]]

"""How many files and row groups: every row has a place, and sizes are bounded."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoy.dataset.layout import FILE_MIB, MIB, lay_out

row_counts, row_sizes = st.integers(1, 5_000_000), st.integers(1, 2_000_000)
group_sizes = st.floats(0.01, 512)


@given(row_counts, row_sizes, group_sizes)
def test_files_hold_all_rows_and_none_is_empty(rows, row_bytes, row_group_mb):
    layout = lay_out(rows, row_bytes, row_group_mb)
    assert layout.rows == rows
    assert (layout.files - 1) * layout.rows_per_file < rows <= layout.files * layout.rows_per_file


@given(row_counts, row_sizes, group_sizes)
def test_files_are_whole_row_groups_and_never_more_than_these(rows, row_bytes, row_group_mb):
    layout = lay_out(rows, row_bytes, row_group_mb)
    assert layout.rows_per_group >= 1
    assert layout.rows_per_file % layout.rows_per_group == 0
    assert layout.files <= math.ceil(rows / layout.rows_per_group)


@given(row_counts, row_sizes, group_sizes)
def test_sizes_are_bounded(rows, row_bytes, row_group_mb):
    layout = lay_out(rows, row_bytes, row_group_mb)
    group_bytes, file_bytes = layout.rows_per_group * row_bytes, layout.rows_per_file * row_bytes
    assert group_bytes <= row_group_mb * MIB + row_bytes
    assert file_bytes <= FILE_MIB * MIB + 2 * group_bytes


@given(st.integers(2048, 5_000_000), row_sizes, group_sizes)
def test_several_readers_have_work(rows, row_bytes, row_group_mb):
    layout = lay_out(rows, row_bytes, row_group_mb)
    assert math.ceil(rows / layout.rows_per_group) >= 8
    assert layout.files >= 2


@pytest.mark.parametrize("rows", [512, 800, 1024, 1700])
def test_more_than_one_row_group_makes_at_least_two_files(rows):
    layout = lay_out(rows, 1000, 8)
    assert layout.rows_per_group < rows
    assert layout.files >= 2


def test_few_rows_are_not_scattered():
    assert lay_out(255, 3000, 8).files == 1
    assert lay_out(255, 3000, 8).rows_per_group == 255

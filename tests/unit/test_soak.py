"""What a soak makes of its samples."""

from __future__ import annotations

import pytest

from tests.soak.process import Sample, growth


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ([100] * 12, 0.0),
        # What fills in the first quarter does not count.
        ([10, 20, 50, *[100] * 9], 0.0),
        ([100, 100, 100, 100, 100, 100, 110, 115, 118, 120, 120, 120], 0.2),
    ],
)
def test_memory_grows_from_the_second_quarter_to_the_last(sizes: list[int], share: float) -> None:
    samples = [Sample(float(at), size, 0, 0) for at, size in enumerate(sizes)]
    assert growth(samples) == pytest.approx(share)

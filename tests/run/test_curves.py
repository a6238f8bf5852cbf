"""Axes are scaled to what matters, by hand."""

import numpy as np

from metajax.run import curves


def test_others_leave_the_picture_where_they_would_flatten_it():
    # The quickstart: trained returns, and those of a random initialisation.
    low, high = curves.limits([[-37, -12], [-8, np.nan], 0.0], [[-40.0, -283.0, -55.0, -143.0]])
    assert low == -55 - 5.5
    assert high == 5.5
    assert curves.limits([[2.0, 2.0]], [[-100.0]])[0] < -100  # a flat curve shows nothing else
    assert curves.limits([[np.nan]]) == (-1, 1)


def test_values_have_three_digits():
    given = (-8.364, 0.5, -283.4, 12345.6)
    assert [*map(curves.value, given)] == ["−8.36", "0.500", "−283", "12,346"]


def test_long_curves_have_values_at_their_ends():
    assert curves.worth_a_number(3) == [0, 1, 2]
    assert curves.worth_a_number(100) == [0, 99]


def test_running_mean_over_a_fortieth():
    values = np.arange(80.0)
    expected = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    np.testing.assert_allclose(curves.smooth(values), expected)

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


def test_values_are_written_beside_a_curve_and_where_it_leaves_the_picture():
    few = curves.notes(np.array([-45.0, -283.0, np.nan]), -70, 0)
    assert few == [(0, "−45.0", 0), (1, "−283 ↓", -1)]
    many = curves.notes(np.array([1.0, *np.arange(90.0, 100), 2.0]), 0, 10)
    assert many == [(0, "1.00", 0), (11, "2.00", 0), (10, "99.0 ↑", 1)]


def test_running_mean_over_a_fortieth():
    values = np.arange(80.0)
    expected = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    np.testing.assert_allclose(curves.smooth(values), expected)
    values[[0, 7]] = np.nan
    found = curves.smooth(values)
    assert np.isnan(found[[0, 7]]).all()
    assert found[[1, 8, 9]].tolist() == [1, 8, 8.5]

import numpy as np
import pytest
from harness import check_layer, draw, numpy

from convcraft.layers import Maxout


def strided(x, units=2):
    """The groups written out: unit u competes over the channels u, u + units, …"""
    return np.stack([x[..., u::units].max(axis=-1) for u in range(units)], axis=-1)


check_layer(
    lambda units=2, **options: Maxout(units, **options),
    shapes=[(2, 4, 4, 6), (3, 6), (2, 5, 4)],
    reference=strided,
    bad=[
        ({"units": 0}, "units"),
        ({"units": 2.0}, "units"),
        ({"axis": 0}, "axis"),
        ({"units": 2, "pieces": 2}, "either units or pieces"),
        ({"units": None}, "either units or pieces"),
        ({"units": None, "pieces": 0}, "pieces"),
    ],
)


@pytest.mark.parametrize(
    "units, expected",
    [
        (2, [4.0, 5.0]),
        (3, [3.0, 4.0, 5.0]),
        (1, [5.0]),
        (6, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
    ],
)
def test_grouping_is_that_of_tensorflow_addons(units, expected):
    # make oracle: tfa.layers.Maxout(units)([[0., 1., 2., 3., 4., 5.]]) under tensorflow-addons 0.23.0
    assert numpy(Maxout(units)(np.arange(6, dtype="float32")[None])).tolist() == [expected]


def test_channels_first():
    x = draw((2, 6, 4, 5))
    y = numpy(Maxout(3, axis=1)(x))
    np.testing.assert_array_equal(y, np.moveaxis(strided(np.moveaxis(x, 1, -1), 3), -1, 1))


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiple of units=4, received 6"):
        Maxout(4)(np.zeros((1, 6), "float32"))


def test_not_a_number_wins():
    assert np.isnan(numpy(Maxout(1)(np.float32([[1, np.nan, 2]])))).all()


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_pieces_say_the_same_as_units(pieces):
    x = draw((2, 3, 6))
    layer = Maxout(pieces=pieces)
    np.testing.assert_array_equal(numpy(layer(x)), numpy(Maxout(6 // pieces)(x)))
    assert layer.compute_output_shape((None, 3, 6)) == (None, 3, 6 // pieces)
    assert layer.get_config()["units"] is None and layer.get_config()["pieces"] == pieces
    with pytest.raises(ValueError, match="multiple of pieces=4, received 6"):
        Maxout(pieces=4)(x)

import numpy as np

from hpacells.core.channels import CHANNELS, Channel


def test_the_order_is_red_green_blue_yellow():
    assert [channel.value for channel in CHANNELS] == ["red", "green", "blue", "yellow"]
    assert [channel.position for channel in CHANNELS] == [0, 1, 2, 3]
    assert set(CHANNELS) == set(Channel)


def test_stains_are_known_by_what_they_show():
    assert Channel("green") is Channel.PROTEIN
    assert Channel("blue") is Channel.NUCLEUS
    assert np.zeros((4, 2, 3))[Channel.ER.position].shape == (2, 3)

"""The measured tables: one entry for each location but Negative, and nobody changes them."""

import numpy as np
import pytest

from hpacells.core.label_noise import CLUSTERING, PRESENCE
from hpacells.core.locations import NEGATIVE


@pytest.mark.parametrize("table", [PRESENCE, CLUSTERING])
def test_a_table_is_of_shares_and_cannot_be_written(table):
    assert table.shape == (NEGATIVE,)
    assert ((table >= 0) & (table < 1)).all()
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0.5


def test_the_measured_extremes():
    assert int(np.argmin(PRESENCE)) == 11  # the mitotic spindle: few cells divide
    assert int(np.argmax(PRESENCE)) == 4

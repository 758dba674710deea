import re

import numpy as np
import pytest

from hpacells.core.errors import TableError
from hpacells.core.locations import (
    LOCATION_KEYS,
    LOCATIONS,
    N_LOCATIONS,
    NEGATIVE,
    format_class_ids,
    parse_class_ids,
    target_vector,
)

WRITTEN_IN_THE_DESIGN = (
    "nucleoplasm nuclear_membrane nucleoli nucleoli_fibrillar_center nuclear_speckles "
    "nuclear_bodies endoplasmic_reticulum golgi_apparatus intermediate_filaments actin_filaments "
    "microtubules mitotic_spindle centrosome plasma_membrane mitochondria aggresome cytosol "
    "vesicles negative"
)


def test_the_vocabulary_is_the_competitions_in_its_order():
    assert " ".join(LOCATION_KEYS) == WRITTEN_IN_THE_DESIGN
    assert N_LOCATIONS == 19
    assert NEGATIVE == 18
    assert [location.class_id for location in LOCATIONS] == list(range(19))
    assert LOCATIONS[3].title == "Nucleoli fibrillar center"
    assert all(re.fullmatch(r"[a-z_]+", key) for key in LOCATION_KEYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0,)),
        ("18|0", (0, 18)),
        ("7|1|2|1", (1, 2, 7)),
        (" 7 | 1 ", (1, 7)),
        ("", ()),
        ("  ", ()),
    ],
)
def test_class_ids_are_read_sorted_and_once(text, expected):
    assert parse_class_ids(text) == expected
    assert parse_class_ids(format_class_ids(expected)) == expected


@pytest.mark.parametrize(
    "text", ["19", "-1", "1||2", "1|", "|", "1,2", "1 2", "1.0", "a", "²", "٣", "nan", "9" * 5000]
)
def test_malformed_class_ids_name_where_they_stand(text):
    with pytest.raises(TableError, match=r"row 4: expected class ids 0-18 joined with '\|', got"):
        parse_class_ids(text, where="row 4")


def test_target_vector():
    vector = target_vector((2, 18))
    assert vector.dtype == np.float32
    assert np.flatnonzero(vector).tolist() == [2, 18]
    assert not target_vector(()).any()

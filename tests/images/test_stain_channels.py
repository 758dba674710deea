from pathlib import Path

import pytest

from hpacells.core.channels import CHANNELS, Channel
from hpacells.core.errors import ConfigError, ImageError
from hpacells.images.stain_channels import BY_FILE, find_channels, parse_channels

PATH = Path("a.ome.tif")


def wanted(text):
    return parse_channels(text)


def test_names_are_found_whatever_their_order_and_capitals():
    names = ["DAPI", "brightfield", "er tracker", "GFP", "Tubulin"]
    found = find_channels(names, wanted("red=tubulin,green=gfp,blue=dapi,yellow=ER Tracker"), PATH)
    assert [found[c] for c in CHANNELS] == [4, 3, 0, 2]


def test_numbers_count_from_one_and_a_name_goes_before_a_number():
    found = find_channels(["", "", "", ""], wanted("red=4,green=3,blue=2,yellow=1"), PATH)
    assert [found[c] for c in CHANNELS] == [3, 2, 1, 0]
    found = find_channels(["4", "3", "2", "1"], wanted("red=4,green=3,blue=2,yellow=1"), PATH)
    assert [found[c] for c in CHANNELS] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "names",
    [["yellow", "blue", "green", "red"], ["ER", "Nucleus", "Protein", "Microtubules"]],
)
def test_a_file_may_declare_its_stains_by_colour_or_role(names):
    found = find_channels(names, BY_FILE, PATH)
    assert [found[c] for c in CHANNELS] == [3, 2, 1, 0]


@pytest.mark.parametrize("names", [["", "", "", ""], ["DAPI", "FITC", "TRITC", "Cy5"]])
def test_order_and_dyes_declare_nothing(names):
    with pytest.raises(ImageError, match=r"a\.ome\.tif: expected the stain red.*--channels red="):
        find_channels(names, BY_FILE, PATH)


@pytest.mark.parametrize(
    ("names", "text", "message"),
    [
        (["a", "b", "c"], "red=a,green=b,blue=c,yellow=d", r"yellow as channel 'd'.*1 a, 2 b, 3 c"),
        (["a", "b", "c", "c"], "red=a,green=b,blue=c,yellow=4", "2 channels of that name"),
        (["a", "b", "c", "d"], "red=a,green=b,blue=c,yellow=0", "no channel"),
        (["a", "b", "c", "d"], "red=a,green=b,blue=c,yellow=5", "no channel"),
        (["a", "b", "c", "d"], "red=a,green=b,blue=c,yellow=3", "of its own for each stain"),
        (["", "", ""], "red=1,green=2,blue=3,yellow=4", r"3 channel\(s\) without names"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(names, text, message):
    with pytest.raises(ImageError, match=message):
        find_channels(names, wanted(text), PATH)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "red",
        "red=1,green=2,blue=3",
        "red=1,green=2,blue=3,yellow=",
        "red=1,green=2,blue=3,er=4",
        "red=1,red=2,green=3,blue=4,yellow=5",
    ],
)
def test_a_malformed_declaration(text):
    with pytest.raises(ConfigError, match="--channels: expected each of the four stains once"):
        parse_channels(text)


def test_a_declaration_is_read_with_blanks():
    assert parse_channels(" Red = 1 , green=a b,blue=3, yellow =4")[Channel.PROTEIN] == "a b"

"""Pictures of what goes wrong, and of which fields."""

import numpy as np
import pytest

from hpacells.core.errors import ImageError, InputError
from hpacells.evaluate.field_masks import count_field
from hpacells.evaluate.mask_pairs import MaskPair
from hpacells.evaluate.masks import score_masks
from hpacells.evaluate.overlays import LEGEND, MAX_SIDE_PX, draw_overlay, write_overlay
from hpacells.evaluate.worst_fields import write_worst_fields
from hpacells.images.decode import decode_image, read_bytes
from hpacells.images.mask_files import write_label_image


def draw_pair(fov_id="a"):
    true, found = np.zeros((200, 300), np.int32), np.zeros((200, 300), np.int32)
    true[10:60, 10:60], true[10:60, 60:110] = 1, 2
    true[100:150, 10:110] = 3
    true[100:150, 130:180] = 4
    true[10:60, 200:250] = 5
    found[10:60, 10:110] = 1  # holds two
    found[100:150, 10:60], found[100:150, 60:110] = 2, 3  # halves of one
    found[100:150, 130:180] = 4
    found[160:190, 200:290] = 6
    return MaskPair(fov_id, found, true)


def has(picture, name, r, c):
    """Whether a pixel within 2 of the place has the colour."""
    return (picture[r - 2 : r + 3, c - 2 : c + 3] == LEGEND[name]).all(axis=-1).any()


def test_each_kind_has_its_colour():
    pair = draw_pair()
    picture = draw_overlay(pair, count_field(pair))
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 200
    assert picture.shape[1] >= 300
    assert has(picture, "found, matched", 125, 130)
    assert has(picture, "true, matched", 125, 130)
    assert has(picture, "true, missed", 35, 200)
    assert has(picture, "found, no match", 175, 200)
    dark = picture[195, 150].astype(int)
    for name, (r, c) in (("merge (found)", (35, 35)), ("split (true)", (125, 35))):
        tint = picture[r, c].astype(int) - dark
        np.testing.assert_allclose(tint, (np.array(LEGEND[name]) - dark) * 0.45, atol=1.5)
    assert (picture[125, 155] == dark).all()  # inside a cell that is right


def test_what_is_rejected_and_has_no_match_is_no_error():
    drawn = draw_pair()
    pair = MaskPair("a", drawn.found, drawn.true, None, {4, 6}, {4, 5})
    picture = draw_overlay(pair, count_field(pair))
    for r, c in ((175, 200), (35, 200)):  # one of either
        assert has(picture, "rejected, no match", r, c)
        assert not has(picture, "found, no match", r, c)
        assert not has(picture, "true, missed", r, c)
    assert has(picture, "found, matched", 125, 130)  # rejected by both, and matched


def test_the_legend_names_all_colours_and_the_picture_stays_under_it():
    pair = draw_pair()
    rgb = np.full((100, 150, 3), 90, np.uint8)
    picture = draw_overlay(pair, count_field(pair), picture=rgb)
    assert (picture[95, 75] == 68).all()  # three quarters of 90
    assert (rgb == 90).all()
    legend = picture[100:].reshape(-1, 3)
    for name, colour in LEGEND.items():
        assert (legend == colour).all(axis=1).sum() > 100, name


def test_large_masks_are_shrunk_and_other_proportions_refused():
    empty = np.zeros((20, 2 * MAX_SIDE_PX), np.int32)
    pair = MaskPair("a", empty, empty)
    assert draw_overlay(pair, count_field(pair)).shape[1] == MAX_SIDE_PX
    with pytest.raises(InputError, match="proportions 20 x"):
        draw_overlay(pair, count_field(pair), picture=np.zeros((50, 50, 3), np.uint8))


def test_a_written_overlay_keeps_its_colours(tmp_path):
    pair = draw_pair()
    write_overlay(tmp_path / "out" / "a.png", pair, count_field(pair))
    read = decode_image(read_bytes(tmp_path / "out" / "a.png"), tmp_path / "a.png")
    expected = draw_overlay(pair, count_field(pair))
    assert sorted(map(tuple, (read.shape, expected.shape)))[0] == expected.shape
    np.testing.assert_array_equal(read, expected)


@pytest.fixture
def folders(tmp_path):
    pair = draw_pair()
    for fov_id, found in (("good", pair.true), ("bad", pair.found), ("worse", 0 * pair.found)):
        write_label_image(tmp_path / "f" / f"{fov_id}_cells.png", found)
        write_label_image(tmp_path / "t" / f"{fov_id}_cells.png", pair.true)
    return tmp_path


def test_the_worst_fields_are_drawn_on_their_images(folders):
    for colour in ("red", "green", "blue", "yellow"):
        for fov_id in ("bad", "worse"):
            grey = np.full((200, 300), 200, np.int32)
            write_label_image(folders / "images" / f"{fov_id}_{colour}.png", grey)
    scores = score_masks(folders / "f", folders / "t")
    places = folders / "f", folders / "t", folders / "out"
    written = write_worst_fields(scores, *places, images=folders / "images", n=2)
    assert [path.name for path in written] == ["01_worse.png", "02_bad.png"]
    assert sorted(folders.joinpath("out").iterdir()) == written
    drawn = decode_image(read_bytes(written[0]), written[0])
    assert drawn[5, 5].max() > 100  # the picture, not dark grey
    (folders / "images" / "bad_red.png").unlink()
    for colour in ("green", "blue", "yellow"):
        (folders / "images" / f"bad_{colour}.png").unlink()
    with pytest.raises(ImageError, match=r"field bad: .* leave --images out"):
        write_worst_fields(scores, *places, images=folders / "images")
    assert sorted(folders.joinpath("out").iterdir()) == written


def test_fields_without_errors_are_left_out_and_earlier_pictures_removed(folders):
    (folders / "out").mkdir()
    for name in ("01_earlier.png", "17_earlier.png", "mine.png"):
        (folders / "out" / name).touch()
    scores = score_masks(folders / "f", folders / "t")
    written = write_worst_fields(scores, folders / "f", folders / "t", folders / "out")
    assert [path.name for path in written] == ["01_worse.png", "02_bad.png"]
    assert sorted(folders.joinpath("out").iterdir()) == [*written, folders / "out" / "mine.png"]
    same = score_masks(folders / "t", folders / "t")
    assert write_worst_fields(same, folders / "t", folders / "t", folders / "out") == []
    assert [path.name for path in folders.joinpath("out").iterdir()] == ["mine.png"]

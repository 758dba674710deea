"""``hpacells run --shard`` and ``hpacells merge`` from the command line."""

import pytest

from hpacells.cli.app import main

SCALE = ["--pixel-size-um", "0.64"]


def run_main(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def test_shards_are_run_and_merged(tmp_path, write_quadruplet, tiny_model_folder, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    for seed, fov_id in enumerate("ab"):
        write_quadruplet(images, fov_id, seed=seed, shape=(150, 200), pixel_size_um=0.64)
    (images / "b_blue.png").unlink()
    options = ["--model", tiny_model_folder, *SCALE]
    shards = [tmp_path / f"s{i}" for i in (1, 2)]
    codes = [
        run_main("run", images, shard, *options, "--shard", f"{i}/2")
        for i, shard in enumerate(shards, start=1)
    ]
    assert sorted(codes) == [0, 1]
    assert "shard 2/2" in capsys.readouterr().out
    assert run_main("merge", shards[0], out) == 2
    assert "--missing-ok" in capsys.readouterr().err
    assert run_main("merge", *shards, out) == 1
    told = capsys.readouterr()
    assert "failed: b: " in told.err
    assert "2 fields: 1 done, 1 failed." in told.out
    assert (out / "report.html").is_file()
    assert run_main("merge", *shards, out) == 1
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("shard", ["3/2", "0/2", "x"])
def test_a_shard_out_of_range_exits_2(tmp_path, shard, capsys):
    assert run_main("run", tmp_path, tmp_path / "out", "--shard", shard) == 2
    assert "--shard: expected i/N" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

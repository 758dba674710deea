import json
from types import SimpleNamespace

import pytest

from hpacells.core.errors import ConfigError
from hpacells.predict.plan import ExecutionPlan
from hpacells.predict.shard import SHARDS_KEY, Shard, ShardsHeld

IDS = [f"field{i}" for i in range(400)]


@pytest.mark.parametrize("of", [1, 2, 7])
def test_every_field_is_in_one_shard_whatever_the_other_fields_are(of):
    fields = [SimpleNamespace(fov_id=fov_id) for fov_id in IDS]
    shards = [Shard(i + 1, of).select(fields) for i in range(of)]
    assert sorted(f.fov_id for shard in shards for f in shard) == sorted(IDS)
    assert min(len(shard) for shard in shards) > 0.6 * len(IDS) / of
    assert Shard(1, of).select(fields[::2]) == [f for f in fields[::2] if f in shards[0]]
    assert shards[0] == sorted(shards[0], key=lambda f: IDS.index(f.fov_id))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1/100001"])
def test_a_shard_out_of_range_is_refused(text):
    with pytest.raises(ConfigError, match=f"from 1 to N .*got {text}"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["", "3", "1/", "-1/4", "1.5/4", "a/b", "1/2/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="expected i/N, as in 3/100"):
        Shard.parse(text)


def test_a_shard_is_read_as_it_is_written():
    assert str(Shard.parse("3/12")) == "3/12"


def test_what_run_json_says_is_read_back_and_a_whole_set_says_nothing():
    held = ShardsHeld(4, (1, 3))
    assert held.missing == [2, 4]
    assert ShardsHeld.read(json.loads(json.dumps(held.describe()))) == held
    assert ShardsHeld(2, (1, 2)).describe() == {}
    assert ShardsHeld.read({}) is None


def test_the_plan_tells_the_shard():
    assert ExecutionPlan(1, 1, shard=Shard(2, 3)).describe()[SHARDS_KEY] == {"of": 3, "held": [2]}
    assert SHARDS_KEY not in ExecutionPlan(1, 1).describe()

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpacells.core.label_noise import PRESENCE
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.model.pooling import AttentionPooling
from hpacells.train.batch import StepInput
from hpacells.train.config import TrainConfig
from hpacells.train.config_sections import LossConfig
from hpacells.train.objective import (
    Answers,
    chance_of_labels,
    logits_of_label,
    step_loss,
    wants_teacher,
)
from hpacells.train.teacher import PresencePrior, shift_to_mean

LOG2 = float(np.log(2))
PLAIN = {
    "image_loss_weight": 1.0, "cell_loss_weight": 1.0, "label_count_power": 0.0,
    "negative_target": "image", "teacher": {"weight": 0.0, "prior": False},
}  # fmt: skip


def make_step(labels, sizes, cell_targets=None):
    """Bags of several sizes; each label is a list of classes."""
    targets = torch.zeros((len(labels), N_LOCATIONS))
    for row, classes in zip(targets, labels, strict=True):
        row[classes] = 1
    present = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    nothing = torch.zeros((sum(sizes), 0))
    return StepInput(nothing, nothing, present, targets, cell_targets)


def answers_of(logits, **more):
    return Answers(logits.requires_grad_(), torch.ones((len(logits), 4)), **more)


def draw_logits(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, N_LOCATIONS), generator=generator) * 2


def judge(logits, step, *, progress=1.0, attention=None, prior=None, more=None, **settings):
    more = dict(more or {})
    chance = more.pop("chance", None)
    config = TrainConfig.model_validate({**PLAIN, **settings})
    return step_loss(
        answers_of(logits, **more),
        step,
        config,
        progress=progress,
        attention=attention,
        prior=prior,
        chance=chance,
    )


def test_drawn_losses_and_weights():
    step = make_step([[0]], [2])
    zeros = torch.zeros((2, N_LOCATIONS))
    loss = judge(zeros.clone(), step, cell_loss_weight=0.1)
    assert float(loss.total.detach()) == pytest.approx(1.1 * LOG2)
    softer = judge(zeros.clone(), step, cell_positive_weight=0.0, image_loss_weight=0.5)
    assert float(softer.cell) == pytest.approx(LOG2 * (N_LOCATIONS - 1) / N_LOCATIONS)
    assert float(softer.image) == pytest.approx(LOG2)
    assert float(softer.total.detach()) == pytest.approx(0.5 * LOG2 + float(softer.cell))


def test_a_location_counts_less_the_more_stand_with_it():
    step = make_step([[2], [0, 3, 5], [NEGATIVE]], [1, 1, 1])
    logits = torch.zeros((3, N_LOCATIONS))
    loss = judge(logits, step, image_loss_weight=0.0, label_count_power=2, cell_positive_weight=0.9)
    loss.total.backward()
    pull = -logits.grad * 2 * 3 * N_LOCATIONS  # of a weight of 1 at logit 0: towards 1, 1
    assert pull[0, 2] == pytest.approx(0.9)
    assert pull[1, [0, 3, 5]].numpy() == pytest.approx(0.9 / 9)
    assert pull[2, NEGATIVE] == pytest.approx(0.9)  # Negative alone is a label of one
    assert pull[1, 1] == pytest.approx(-1)  # absent: unchanged


def test_each_cell_has_its_own_image_s_label_and_the_same_weight():
    step = make_step([[], [3]], [1, 3])
    logits = torch.zeros((4, N_LOCATIONS))
    logits[0, 3], logits[1:, 3] = 2.0, 1.0
    loss = judge(logits, step, pooling="mean")
    of_class = (np.log1p(np.exp(2)) + 3 * np.log1p(np.exp(-1))) / 4
    assert float(loss.cell) == pytest.approx((of_class + 18 * LOG2) / N_LOCATIONS)


def test_cells_without_known_target_count_for_nothing():
    targets = torch.rand((4, N_LOCATIONS), generator=torch.Generator().manual_seed(1))
    targets[1] = -1
    step = make_step([[1], [2]], [3, 1], targets)
    logits = draw_logits(4)
    # the weight of a label's classes is for labels, not for targets of cells
    loss = judge(logits, step, image_loss_weight=0.0, cell_positive_weight=0.3)
    loss.total.backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2, 3]] != 0).all()
    kept = [0, 2, 3]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[kept], targets[kept])
    assert float(loss.cell) == pytest.approx(float(expected.detach()), rel=1e-5)
    unknown = make_step([[1], [2]], [3, 1], torch.full_like(targets, -1))
    loss = judge(draw_logits(4), unknown)
    assert float(loss.cell) == 0
    assert torch.isfinite(loss.total)


@pytest.mark.parametrize("kind", ["bce", "focal", "asymmetric", "soft_ap"])
def test_every_loss_teaches_and_may_leave_negative_out(kind):
    step = make_step([[0, 3], [NEGATIVE], [7]], [2, 1, 3])
    for target in ("image", "none"):
        logits = draw_logits(6)
        loss = judge(logits, step, loss={"kind": kind}, negative_target=target)
        loss.total.backward()
        assert torch.isfinite(logits.grad).all()
        assert (logits.grad[:, NEGATIVE] == 0).all() == (target == "none")
        assert logits.grad[:, 0].abs().sum() > 0


def test_soft_ap_without_any_positive_is_its_entropy():
    step = make_step([[]], [3])
    zeros = torch.zeros((3, N_LOCATIONS))
    loss = judge(zeros, step, loss={"kind": "soft_ap", "entropy_weight": 2.0})
    assert float(loss.image) == pytest.approx(2 * LOG2)


@pytest.mark.parametrize("with_teacher", [False, True])
def test_softening_touches_the_present_pairs_of_largest_loss_only(with_teacher):
    step = make_step([[0, 1], [1]], [2, 2])
    logits = draw_logits(4)
    teacher = draw_logits(4, seed=5) if with_teacher else None
    label = step.image_targets.repeat_interleave(2, 0)
    pairs = [(i, k) for i in range(4) for k in range(N_LOCATIONS) if label[i, k] == 1]
    assert len(pairs) == 6
    worst = sorted(pairs, key=lambda pair: float(logits[pair]))[:3]  # half of them
    targets = label.clone()
    for pair in worst:
        targets[pair] = torch.sigmoid((logits if teacher is None else teacher)[pair])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    settings = {"soften": {"share": 0.5, "start_share": 0.4}}
    more = {"teacher": teacher}
    loss = judge(logits, step, more=more, **settings)
    assert float(loss.cell) == pytest.approx(float(expected.detach()), rel=1e-5)
    early = judge(logits, step, more=more, progress=0.3, **settings)
    plain = judge(logits, step)
    assert float(early.cell) == float(plain.cell) != float(loss.cell)


def test_the_teacher_speaks_of_what_the_label_has():
    step = make_step([[2]], [3])
    teacher = draw_logits(3, seed=2)
    targets = torch.zeros_like(teacher)
    targets[:, 2] = 0.5 + 0.5 * torch.sigmoid(teacher[:, 2])
    logits = draw_logits(3)
    settings = {"image_loss_weight": 0.0, "cell_loss_weight": 2.0, "teacher": {"weight": 0.5}}
    loss = judge(logits, step, more={"teacher": teacher}, **settings)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(loss.total, 2 * expected)


def test_a_teacher_takes_the_place_of_noisy_positives():
    step = make_step([[2]], [3])
    answers = {"teacher": torch.full((3, N_LOCATIONS), 20.0)}  # sure of everything
    settings = {"teacher": {"weight": 1.0}, "cell_positive_weight": 0.1}
    got = judge(draw_logits(3), step, more=answers, **settings)
    plain = judge(draw_logits(3), step, cell_positive_weight=1.0)
    torch.testing.assert_close(got.cell, plain.cell)


def test_a_teacher_does_not_speak_for_bags_that_were_made():
    step = make_step([[2], [3]], [2, 1])
    made = replace(step, made=torch.tensor([False, True]))
    settings = {"image_loss_weight": 0.0, "teacher": {"weight": 1.0}}
    prior, logits = PresencePrior(), torch.zeros((3, N_LOCATIONS))
    more = {"teacher": torch.full((3, N_LOCATIONS), -20.0)}  # sure of nothing
    judge(logits, made, more=more, prior=prior, **settings).total.backward()
    assert logits.grad[2, 3] < 0  # towards its label
    assert prior.seen[2] == 1
    assert prior.seen[3] == 0
    alone = torch.zeros((3, N_LOCATIONS))
    judge(alone, step, more=more, **settings).total.backward()
    assert (alone.grad[2] > 0).all()


def test_a_teacher_leaves_the_targets_that_cells_have_of_their_own():
    """With weight 1 it once replaced the rounds' soft labels: they counted for nothing."""
    targets = torch.rand((3, N_LOCATIONS), generator=torch.Generator().manual_seed(6))
    targets[1] = -1
    step = make_step([[2]], [3], targets)
    prior = PresencePrior()
    more = {"teacher": draw_logits(3, seed=2)}
    for weight in (0.5, 1.0):
        settings = {"teacher": {"weight": weight}}
        got = judge(draw_logits(3), step, more=more, prior=prior, **settings)
        torch.testing.assert_close(got.total, judge(draw_logits(3), step).total)
    assert not prior.seen.any()


def test_softening_spends_nothing_on_an_untrained_negative():
    """Its column was the largest loss of every Negative image, and took the whole share."""
    step = make_step([[0, NEGATIVE]], [4])
    logits = torch.zeros((4, N_LOCATIONS))
    logits[:, NEGATIVE], logits[:, 0] = -9.0, torch.tensor([-2.0, -1.0, 1.0, 2.0])
    settings = {"negative_target": "none", "soften": {"share": 0.5, "start_share": 0.0}}
    targets = torch.zeros((4, N_LOCATIONS))
    targets[:, 0] = torch.tensor([*torch.sigmoid(logits[:2, 0]), 1.0, 1.0])
    compare = torch.nn.functional.binary_cross_entropy_with_logits
    expected = compare(logits[:, :NEGATIVE], targets[:, :NEGATIVE])
    loss = judge(logits, step, **settings)
    torch.testing.assert_close(loss.cell, expected)


def test_the_noise_of_labels_is_that_of_bayes_rule():
    labels = np.zeros((10, N_LOCATIONS), np.float32)
    labels[:4, 2] = 1
    chance = chance_of_labels(labels)
    lacking = 0.4 * (1 - PRESENCE[2])
    assert float(chance[2]) == pytest.approx(lacking / (lacking + 0.6))
    assert float(chance.sum()) == pytest.approx(float(chance[2]))
    logits = draw_logits(3)
    q = torch.sigmoid(logits)
    expected = q + (1 - q) * chance
    torch.testing.assert_close(torch.sigmoid(logits_of_label(logits, chance)), expected)
    assert float(chance_of_labels(np.ones((2, N_LOCATIONS), np.float32))[0]) < 1


def test_a_cell_that_looks_empty_is_hardly_pulled_towards_its_label():
    step = make_step([[2]], [2])
    chance = chance_of_labels(np.eye(N_LOCATIONS, dtype=np.float32))
    pulls = []
    for known in (None, chance):
        logits = torch.full((2, N_LOCATIONS), -6.0, requires_grad=True)
        judge(logits, step, more={"chance": known}, image_loss_weight=0).total.backward()
        pulls.append(float(-logits.grad[0, 2]))
    assert 0 < pulls[1] < 0.2 * pulls[0]


def test_the_teacher_begins_when_its_share_is_done():
    config = TrainConfig.model_validate({"teacher": {"weight": 1.0, "start_share": 0.3}})
    step = make_step([[2]], [3])
    asked = [wants_teacher(config, step, progress=share) for share in (0.0, 0.29, 0.3, 1.0)]
    assert asked == [0, 0, 1, 1]
    assert not wants_teacher(TrainConfig(teacher={"weight": 0}), step, progress=1.0)
    own = make_step([[2]], [3], torch.zeros((3, N_LOCATIONS)))
    assert not wants_teacher(config, own, progress=1.0)


def test_alone_and_in_the_field_are_drawn_together():
    step = make_step([[2]], [1])
    alone, field = (torch.full((1, N_LOCATIONS), x) for x in (np.log(3.0), -np.log(3.0)))
    field.requires_grad_()
    settings = {"image_loss_weight": 0.0, "cell_loss_weight": 0.0, "consistency": {"weight": 2.0}}
    loss = judge(alone, step, more={"in_field": field}, **settings)
    assert float(loss.total.detach()) == pytest.approx(2 * 0.5**2)  # probabilities 3/4 and 1/4
    loss.total.backward()
    assert (alone.grad > 0).all()
    assert (field.grad < 0).all()


def test_attention_is_trained_with_the_image_loss():
    step = make_step([[0], [1]], [2, 1])
    attention = AttentionPooling(4, N_LOCATIONS)
    generator = torch.Generator().manual_seed(3)
    answers = Answers(draw_logits(3), torch.randn((3, 4), generator=generator))
    config = TrainConfig(pooling="attention", image_loss_weight=1.0)
    assert config.prediction_pooling == "lse"
    step_loss(answers, step, config, progress=0.0, attention=attention).total.backward()
    assert attention.score.weight.grad.abs().sum() > 0


def test_order_of_bags_does_not_matter():
    labels, sizes = [[0], [1, 4], [NEGATIVE]], [2, 3, 1]
    logits = draw_logits(6)
    turned = torch.cat([logits[5:], logits[2:5], logits[:2]])
    for kind in ("bce", "soft_ap"):
        one = judge(logits, make_step(labels, sizes), loss=LossConfig(kind=kind))
        two = judge(turned, make_step(labels[::-1], sizes[::-1]), loss=LossConfig(kind=kind))
        torch.testing.assert_close(one.total, two.total)


def test_a_shift_gives_the_wanted_mean():
    logits = draw_logits(30)
    chosen = torch.rand(logits.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    wanted = torch.linspace(0.05, 0.95, N_LOCATIONS)
    shift = shift_to_mean(logits, chosen, wanted)
    mean = (torch.sigmoid(logits + shift) * chosen).sum(0) / chosen.sum(0)
    torch.testing.assert_close(mean, wanted, atol=1e-4, rtol=0)


def test_the_prior_learns_a_running_mean_and_leaves_unseen_locations_and_negative_alone():
    prior = PresencePrior()
    present = torch.zeros((4, N_LOCATIONS), dtype=torch.bool)
    present[:, [0, NEGATIVE]] = True
    shifts = []
    for seed in range(3):
        logits = draw_logits(4, seed)
        shifts.append(float(shift_to_mean(logits, present, prior.wanted)[0]))
        torch.testing.assert_close(prior(logits, present), logits + prior.shift)
    assert float(prior.shift[0]) == pytest.approx(np.mean(shifts), rel=1e-4)
    assert (prior.shift[1:] == 0).all()
    again = PresencePrior()
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again(logits, present), prior(logits, present))

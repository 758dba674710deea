"""The parts of a recipe that belong together, one section each; ``train.config`` holds them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AUGMENT_PRESETS",
    "AugmentConfig",
    "ConfigSection",
    "ConsistencyConfig",
    "FittingConfig",
    "LossConfig",
    "MixConfig",
    "RoundsConfig",
    "SoftenConfig",
    "SynthesisConfig",
    "TeacherConfig",
]


class ConfigSection(BaseModel):
    """A recipe, or a section of one: it never changes, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AUGMENT_PRESETS: dict[str, dict[str, Any]] = {
    "weak": {"warp_share": 0.0, "intensity": 0.1, "noise": 1.0},
    "strong": {
        "warp_share": 0.4,
        "scale": 0.2,
        "shift_px": 4.0,
        "intensity": 0.3,
        "noise": 3.0,
        "blur": 0.9,
        "gamma": 0.25,
        "black_level": 4.0,
        "background": 4.0,
        "grain": 0.5,
        "jpeg": 30,
        "mask_px": 2,
    },
}
"""``augment: weak`` turns, and hardly more; ``augment: strong`` does all that real stains, cameras,
files and outlines were seen to do. Where neither is named, the fields' own defaults stand."""


class AugmentConfig(ConfigSection):
    """Random changes of single cells that leave their locations as they are (``train.augment``).

    A recipe gives a preset's name, or fields, or both: ``{preset: strong, jpeg: 0}``. The written
    recipe has the resulting fields only. Sizes of 0 turn a change off.
    """

    dihedral: bool = True
    """Turn by quarter turns and mirror, each of the eight equally often."""
    warp_share: float = Field(default=0.3, ge=0, le=1)
    """Share of cells that are also turned by any angle, scaled and shifted (interpolated)."""
    scale: float = Field(default=0.1, ge=0, lt=1)
    """Largest relative change of size."""
    shift_px: float = Field(default=3.0, ge=0)
    """Largest shift along each axis, in crop pixels."""
    intensity: float = Field(default=0.2, ge=0, le=1)
    """Standard deviation of the logarithm of each stain's factor, drawn per cell."""
    noise: float = Field(default=2.0, ge=0, le=50)
    """Largest standard deviation of added noise, in grey values of the 8-bit scale."""

    degraded_share: float = Field(default=0.4, ge=0, le=1)
    """Share of cells that each of the changes below befalls, each by its own chance."""
    blur: float = Field(default=0.0, ge=0, le=5)
    """Largest standard deviation of a Gaussian blur, in crop pixels."""
    gamma: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of the logarithm of each stain's exponent; 255 stays 255."""
    black_level: float = Field(default=0.0, ge=0, le=50)
    """Largest grey value that each stain loses; below it is 0."""
    background: float = Field(default=0.0, ge=0, le=50)
    """Largest grey value that each stain gains everywhere (unspecific staining)."""
    grain: float = Field(default=0.0, ge=0, le=1)
    """Largest standard deviation of the logarithm of the factors, one to two pixels coarse, that
    the protein's stain is multiplied by."""
    jpeg: int = Field(default=0, ge=0, le=95)
    """Largest loss of JPEG quality: coded at 100 - this or better."""
    mask_px: int = Field(default=0, ge=0, le=10)
    """Most crop pixels by which the cell's mask shrinks or grows (an inexact outline)."""

    missing_er: float = Field(default=0.0, ge=0, le=1)
    """Share of bags shown without the ER stain: all zeros, as ``run --missing yellow`` does."""
    missing_microtubules: float = Field(default=0.0, ge=0, le=1)
    """Share of bags shown without the microtubules, as ``run --missing red`` does."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        content = {"preset": given} if isinstance(given, str) else given
        if not isinstance(content, dict) or "preset" not in content:
            return given
        fields = dict(content)
        name = str(fields.pop("preset"))
        if name not in AUGMENT_PRESETS:
            known = ", ".join(AUGMENT_PRESETS)
            raise ValueError(f"expected {known} or fields, got {name!r}")
        return AUGMENT_PRESETS[name] | fields


class SynthesisConfig(ConfigSection):
    """Shares of bags made into bags of a rare location (``train.synthesis``)."""

    negative: float = Field(default=0.0, ge=0, le=1)
    """The protein is dimmed to what Negative cells show."""
    microtubules: float = Field(default=0.0, ge=0, le=1)
    """The protein is replaced by the microtubules."""
    endoplasmic_reticulum: float = Field(default=0.0, ge=0, le=1)
    """The protein is replaced by the ER."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.negative + self.microtubules + self.endoplasmic_reticulum
        if total > 1:
            raise ValueError(f"expected shares that sum to 1 at most, got {total:g}")
        return self


class MixConfig(ConfigSection):
    """Shares of bags whose cells are mixed with those of another bag (``train.mixing``)."""

    mixup: float = Field(default=0.0, ge=0, le=1)
    """The two cells overlaid."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """One cell on one side of a line, the other beyond it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mixup + self.cutmix > 1:
            total = self.mixup + self.cutmix
            raise ValueError(f"expected shares that sum to 1 at most, got {total:g}")
        return self


class RoundsConfig(ConfigSection):
    """Rounds of soft labels of single cells, out of fold (``train.rounds``)."""

    n: int = Field(default=0, ge=0, le=5)
    """Rounds before the last training; each trains once per fold. 0: image labels only."""
    folds: int = Field(default=3, ge=1, le=10)
    """Parts of the training fields; each part's cells are judged by the model of the others. 1: a
    model of all fields judges their cells itself."""
    epochs: int | None = Field(default=None, ge=1)
    """Of a fold's training; null takes the recipe's."""
    cell_loss_weight: float = Field(default=1.0, ge=0)
    """Replaces the recipe's ``cell_loss_weight`` once cells have labels of their own."""
    image_loss_weight: float | None = Field(default=None, ge=0)
    """Replaces the recipe's ``image_loss_weight`` from then on; null leaves it."""


class LossConfig(ConfigSection):
    """What compares logits with targets, of images and of cells alike (``model.losses``)."""

    kind: Literal["bce", "focal", "asymmetric", "soft_ap"] = "bce"
    """``bce``: cross-entropy. ``focal``: easy answers count less. ``asymmetric``: easy absences
    count less. ``soft_ap``: 1 - a smooth average precision, over all that a step holds."""
    focal_gamma: float = Field(default=2.0, ge=0)
    """Power by which easy answers count less; 0 is ``bce``."""
    gamma_positive: float = Field(default=0.0, ge=0)
    """Of ``asymmetric``, for what is present. Above 0, cells that the label calls wrongly present
    would count more than others."""
    gamma_negative: float = Field(default=4.0, ge=0)
    """Of ``asymmetric``, for what is absent."""
    margin: float = Field(default=0.05, ge=0, lt=1)
    """Of ``asymmetric``: probabilities of absent locations below this count for nothing."""
    temperature: float = Field(default=0.5, gt=0)
    """Of ``soft_ap``: difference of two logits at which their order begins to count as certain."""
    entropy_weight: float = Field(default=1.0, ge=0)
    """Cross-entropy added to ``soft_ap``, which alone orders but gives no probabilities."""


class TeacherConfig(ConfigSection):
    """The averaged network's answers as targets of cells; see ``train.objective``."""

    weight: float = Field(default=1.0, ge=0, le=1)
    """Share of a cell's target, for the locations of its image's label, that is the teacher's
    probability; the rest is the label. 0 turns it off. Cells with targets of their own keep them:
    with ``rounds`` it serves the folds' first round only. It does not speak for cells of bags that
    ``synthesis`` made: their label is clean."""
    start_share: float = Field(default=0.5, ge=0, lt=1)
    """Share of the steps before it begins: a teacher must have learned something."""
    prior: bool = True
    """Shift the teacher's logits so that a location on the label is, on average, found in as many
    cells as measured (``core.label_noise.PRESENCE``)."""


class SoftenConfig(ConfigSection):
    """Cells that seem to lack a location of their image's label: taught softly."""

    share: float = Field(default=0.0, ge=0, le=1)
    """Share of a step's pairs (cell, location on its image's label), those of the largest loss,
    whose target becomes the teacher's probability, without a teacher the network's own. Not with
    ``teacher.weight`` 1, which has replaced all of them."""
    start_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the steps before it begins."""


class ConsistencyConfig(ConfigSection):
    """A cell seen in its field and alone should be answered the same."""

    weight: float = Field(default=0.0, ge=0)
    """Weight of the mean squared difference of the two probabilities; 0 turns it off."""


class FittingConfig(ConfigSection):
    """What is fitted once the network is trained, on the held-out fields, by image labels alone."""

    calibration: bool = True
    """Scale and bias per location (``train.calibration``); identity with few held-out fields."""
    postprocessing: bool = True
    """How cell and image score are blended (``train.fit_postprocessing``); false keeps the
    recipe's ``postprocessing``. Not without ``calibration``."""
    doubt: bool = True
    """What ordinary cells are like (``runtime.doubt``), for the doubt of single cells."""

"""Settings of a training: one recipe, read from YAML and written into the model it made."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from hpacells.core.crop_spec import CropSpec
from hpacells.core.errors import ConfigError
from hpacells.runtime.model_folder import LSE_SHARPNESS, TOP_SHARE, Postprocessing
from hpacells.train.config_sections import (
    AugmentConfig,
    ConfigSection,
    ConsistencyConfig,
    FittingConfig,
    LossConfig,
    MixConfig,
    RoundsConfig,
    SoftenConfig,
    SynthesisConfig,
    TeacherConfig,
)

__all__ = ["AugmentConfig", "TrainConfig", "read_train_config"]


class TrainConfig(ConfigSection):
    """How a classifier is trained."""

    name: str = Field(default="nfnet", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the model, written to its folder."""
    version: str = "1"
    """Version of the model."""
    description: str = ""
    """One line for the model's folder: what it was trained on, what it is good for."""
    licence: str = "BSD-3-Clause"
    """SPDX identifier, or words, for the weights."""

    backbone: str = "hpa_nfnet_nano"
    """One of ours (``model.backbone``), ``subcell…`` or the name of a timm model."""
    backbone_kwargs: dict[str, Any] = Field(default={})
    """Passed on to the backbone's constructor."""
    weights: Path | None = None
    """Local file the backbone starts from (safetensors, or .pth with nothing but tensors), or the
    name of an installed model ('hpacells models'); null: from random weights."""
    weights_of: Literal["backbone", "whole"] = "backbone"
    """What starts from ``weights``: the backbone, or the whole network, embedding and last layer
    too, to go on with a trained model (its model.safetensors, by its own backbone, encoder_input
    and embedding_size)."""
    freeze: bool | Literal["cached"] = False
    """Leave the backbone as its weights are and train only the head on it. ``cached``: compute
    what it makes of each cell once (``train.features``), the cell as it is; not with changes of
    single cells (augment, synthesis, mix, consistency)."""
    encoder_input: Literal["cell_contrast", "stains", "photograph", "cell_min_max"] | None = None
    """What the backbone is given (``model.encoder_input``); null: what its weights were made for.
    """
    embedding_size: int = Field(default=128, ge=8, le=4096)
    """Length of a cell's embedding."""
    drop_path: float = Field(default=0.05, ge=0, lt=1)
    """Probability of dropping the deepest residual branch."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability of dropping an entry of the embedding before the last layer."""

    views: Literal[1, 2, 4, 8] = 1
    """Ways of turning and mirroring a cell that the finished model averages: each costs the
    network's whole time, when the model is used and when it is validated. Not with ``cached``."""

    crop_px: int = Field(default=96, ge=16, le=1024)
    """Side of a crop, in crop pixels."""
    pixel_size_um: float = Field(default=0.28, ge=0.02, le=2.0)
    """µm per crop pixel."""
    outside: Literal["keep", "zero"] = "zero"
    """What the network sees outside the cell."""

    bag_size: int = Field(default=8, ge=1, le=64)
    """Cells of one image in a bag, at most; 8-16 worked in the field, 48 did not."""
    bags_per_batch: int = Field(default=8, ge=1)
    """Images per step, over all devices and parts."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a device computes its share of a step in, one after the other, to save memory;
    the gradient stays the whole step's. Above 1 each cell is computed twice forward."""
    epochs: int = Field(default=30, ge=1)
    """Each epoch takes one bag from every training image."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Highest learning rate."""
    optimizer: Literal["adamw", "muon", "sgd"] = "muon"
    """Muon (``train.optimizer``), which learns most in few steps from random weights, at learning
    rates of AdamW; AdamW; or stochastic gradient descent with momentum."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of ``sgd``."""
    nesterov: bool = True
    """Nesterov's momentum, of ``sgd``."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0; then a cosine to 1 % of it."""
    weight_decay: float = Field(default=0.02, ge=0)
    """On weights of two dimensions or more."""
    clip_factor: float = Field(default=0.05, ge=0)
    """λ of adaptive gradient clipping, on all but the last layer; 0 turns it off."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Of the averaged weights, which are validated and exported; rises to this from 0."""
    pooling: Literal["max", "lse", "noisy_or", "top_mean", "mean", "attention"] = "lse"
    """From a bag's cells to its image (``model.pooling``). ``attention`` belongs to the training:
    its weights are not exported, and the model pools by ``lse``."""
    loss: LossConfig = LossConfig()
    """Of images and of cells."""
    image_loss_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss of the pooled bags."""
    cell_loss_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss that gives every cell its image's label."""
    cell_positive_weight: float = Field(default=1.0, ge=0)
    """Weight, in that loss, of the classes that the label has: some cells lack them. Not with
    targets of single cells, and not in ``soft_ap``."""
    corrected_weight: float = Field(default=1.0, ge=0)
    """Weight of a cell that people corrected (``train --corrections``), in place of
    ``cell_loss_weight``: what is said of the cell itself is not noisy."""
    label_count_power: float = Field(default=1.4, ge=0, le=5)
    """How much less that weight is where the label has several locations: divided by their number
    to this power. Whatever a cell shows, a label of one location names it; one of three names two
    more that it may lack. 0 treats all labels alike. A cell that the teacher answers for counts
    fully again."""
    label_noise: Literal["ignored", "modelled"] = "ignored"
    """``modelled``: while cells have only their image's label, the cell loss asks for the
    probability of that label, given the cell and the measured presence of each location
    (``train.objective.logits_of_label``); a cell that lacks it is hardly pulled towards it."""
    negative_target: Literal["image", "none"] = "none"
    """``none`` leaves Negative out of every loss: it is derived from the others."""
    soften: SoftenConfig = SoftenConfig()
    """Large-loss positives; off by default."""
    teacher: TeacherConfig = TeacherConfig()
    """Targets from the averaged network."""
    consistency: ConsistencyConfig = ConsistencyConfig()
    """In the field and alone; off by default."""
    postprocessing: Postprocessing = Postprocessing(negative="product")
    """From the cells' probabilities to image and blend scores; its image pooling is replaced by
    ``pooling``. Negative, unless the recipe says so, is derived from the other classes: an image's
    label says nothing of its Negative cells, so the network's own answer is taught wrongly."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of the crops; ``weak``, ``strong``, or field by field."""
    synthesis: SynthesisConfig = SynthesisConfig()
    """Bags of rare locations made from others; off by default."""
    mix: MixConfig = MixConfig()
    """Bags mixed with others; off by default."""
    rare_cap: float = Field(default=1.0, ge=1, le=100)
    """How many times as often as others a field with rare locations is drawn, at most
    (``train.bags``); 1 draws every field once per epoch."""

    rounds: RoundsConfig = RoundsConfig()
    """Rounds of soft out-of-fold cell labels; off by default."""

    fitting: FittingConfig = FittingConfig()
    """What is fitted on the held-out fields at the end."""
    val_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the groups (antibody, gene) held out; 0 trains on everything."""
    validate_every: int = Field(default=2, ge=1)
    """Epochs from one validation to the next; the last epoch always has one."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Steps from one checkpoint to the next."""
    seed: int = Field(default=0, ge=0)
    """Of everything random."""
    accelerator: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device, as Lightning Fabric names it."""
    devices: int = Field(default=1, ge=1)
    """Devices (processes) per machine; several share each step's cells."""
    num_nodes: int = Field(default=1, ge=1)
    """Machines, started by ``torchrun`` on each."""
    compile: bool = False
    """Compile the network (``torch.compile``); needs a C++ compiler on a CPU."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """bf16 is slower on a CPU, faster on a GPU."""
    shuffle_labels: bool = False
    """Control experiment: labels are permuted among the images before training, so that nothing
    true can be learned; the model must then score at chance."""

    @property
    def prediction_pooling(self) -> Literal["max", "lse", "noisy_or", "top_mean", "mean"]:
        """How the trained model pools a field's cells: as in training, ``lse`` for attention."""
        return "lse" if self.pooling == "attention" else self.pooling

    @field_validator("postprocessing", mode="before")
    @classmethod
    def _derive_negative(cls, given: Any) -> Any:
        return {"negative": "product", **given} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.crop_spec()
        if self.freeze and self.weights is None:
            raise ValueError(
                "freeze: a backbone of random weights would never learn. Give it 'weights'."
            )
        if self.weights_of == "whole" and (self.weights is None or self.freeze == "cached"):
            raise ValueError(
                "weights_of: 'whole' starts from a model's 'weights', and not with freeze "
                "'cached', which makes a new head. Name the file, or leave weights_of out."
            )
        changes = {"augment", "synthesis", "mix", "consistency"} & self.model_fields_set
        if self.freeze == "cached" and changes:
            raise ValueError(
                f"freeze: cached features are of cells as they are, {', '.join(sorted(changes))} "
                "would do nothing. Leave it out, or set freeze to true."
            )
        if self.freeze == "cached" and self.views > 1:
            raise ValueError(
                "views: cached features are of cells as they are. Leave it out, or set freeze "
                "to true."
            )
        if self.consistency.weight > 0 and self.outside == "keep":
            raise ValueError(
                "consistency: with outside 'keep' a cell is never seen alone. Use outside 'zero'."
            )
        used = self.postprocessing
        if (used.lse_sharpness, used.top_share) != (LSE_SHARPNESS, TOP_SHARE):
            raise ValueError(
                f"postprocessing: training pools with lse_sharpness {LSE_SHARPNESS} and top_share "
                f"{TOP_SHARE}, got {used.lse_sharpness} and {used.top_share}. Leave them out."
            )
        if used.negative == "own" and self.negative_target == "none":
            raise ValueError(
                "postprocessing.negative: 'own' scores an answer that negative_target 'none' never "
                "trains. Leave one of them out."
            )
        if self.image_loss_weight == 0 and (
            self.pooling == "attention" or self.cell_loss_weight == self.consistency.weight == 0
        ):
            raise ValueError(
                "image_loss_weight: without an image loss nothing teaches the pooling 'attention', "
                "without a cell loss too nothing teaches the network. Set a weight above 0."
            )
        if self.soften.share > 0 and self.teacher.weight == 1:
            raise ValueError(
                "soften: teacher.weight 1 replaces every target that it would soften. Set "
                "soften.share to 0, or teacher.weight below 1."
            )
        return self

    def crop_spec(self) -> CropSpec:
        """Give the crops to train on."""
        return CropSpec(self.crop_px, self.pixel_size_um, self.outside)


def read_train_config(path: Path | None, **overrides: Any) -> TrainConfig:
    """Read a recipe; defaults < file < command line.

    Parameters
    ----------
    path
        YAML; None takes the defaults.
    **overrides
        Fields given on the command line; None leaves a field as it is.

    Raises
    ------
    ConfigError
        When the file cannot be read, a key is unknown or a value out of range.
    """
    content: Any = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"--config {path}: cannot be read as YAML ({error})") from error
        if not isinstance(content, dict):
            raise ConfigError(f"--config {path}: expected 'key: value' lines, got something else")
    content.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        source = "options" if path is None else f"--config {path}"
        raise ConfigError(f"{source}: " + "; ".join(lines)) from error

"""Settings of the variation scores."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["VariationConfig"]


class VariationConfig(BaseModel):
    """How variation between the cells of a field is scored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_cells: int = Field(default=5, ge=2)
    """Cells that count (whole, no quality flag) below which a field's score is null."""

    n_replicates: int = Field(default=200, ge=20)
    """Bootstrap replicates behind an interval."""

    n_permutations: int = Field(default=999, ge=99)
    """Permutations behind the p of an association; it is never below 1 / (1 + this)."""

    level: float = Field(default=0.95, gt=0, lt=1)
    """Share of the replicates inside an interval."""

    seed: int = Field(default=0, ge=0)
    """Seed of bootstrap and permutations; each field's own draws follow from it and its id."""

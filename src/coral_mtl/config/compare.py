"""The section `compare`: named variants of a configuration, which `coral-mtl compare` puts beside one another."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from coral_mtl.config.bases import Section

OF_ALL = (
    *("seed", "name", "study", "compare"),
    *("trainer.output_dir", "trainer.early_stopping", "trainer.model_selection_metric", "trainer.metric_mode"),
)
"""Keys that a comparison decides for all its runs."""


class Compare(Section):
    """Variants to compare (`coral-mtl compare`); any other command refuses a file that has this section."""

    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=2)] = Field(
        description="By a name of your own, what a variant changes: values by dotted key, such as "
        "`{loss.weighting_strategy.params.alpha: 0.5}`; `{}` is the file as it is."
    )
    baseline: str | None = Field(
        default=None, description="The variant that the others are compared with; null takes the first."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.baseline is not None and self.baseline not in self.variants:
            known = ", ".join(self.variants)
            raise PydanticCustomError("baseline", "{text}", {"text": f"no variant is the baseline; there are {known}"})
        for name, settings in self.variants.items():
            common = [key for key in settings if any(f"{key}.".startswith(f"{each}.") for each in OF_ALL)]
            if common:
                text = f"{name} changes {common[0]}, which a comparison decides for all its runs\nleave it out"
                raise PydanticCustomError("variant", "{text}", {"text": text})
        return self

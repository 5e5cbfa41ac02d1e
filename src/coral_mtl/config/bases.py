"""What all sections of a configuration have in common."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from coral_mtl import registry as registries


class Section(BaseModel):
    """A part of a configuration: unknown keys are errors, and nothing is converted from one type to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Block(Section):
    """A section that names a class of a registry and gives its options."""

    registry: ClassVar[registries.Registry]

    type: str
    params: dict[str, Any] = Field(default_factory=dict, description="Options of the type, see its table.")

    def build(self, *arguments: Any) -> Any:
        """Build the class named by `type` with the options `params`, and by position what the run provides."""
        return self.registry.get(self.type)(*arguments, **self.params)

"""coral-mtl: named losses go in, one well-chosen gradient comes out, what happened is written down.

```python
import coral_mtl

engine = coral_mtl.Engine(coral_mtl.NashMTL(update_frequency=10), model)
step = engine.backward({"left": loss_left, "right": loss_right})  # in place of (loss_left + loss_right).backward()
```

Names are imported when they are first used. Every registered strategy is an attribute of this package under its class
name; `coral_mtl.registry.strategies.names()` lists them.
"""

import importlib
from importlib.metadata import version
from typing import Any

__version__ = version("coral-mtl")

_HOMES = {
    "Engine": "coral_mtl.engine.engine",
    "backward": "coral_mtl.engine.engine",
    "solve": "coral_mtl.solving",
    "decide": "coral_mtl.solving",
    "WeightAveraging": "coral_mtl.engine.wrappers",
    "ClippedDirection": "coral_mtl.engine.wrappers",
    "TorchJD": "coral_mtl.engine.torchjd_adapter",
    "Step": "coral_mtl.engine.step",
    "Stack": "coral_mtl.engine.stack",
    "Strategy": "coral_mtl.engine.strategy",
    "LossWeighting": "coral_mtl.engine.strategy",
    "GradientStrategy": "coral_mtl.engine.strategy",
    "Observation": "coral_mtl.engine.observation",
    "Decision": "coral_mtl.engine.observation",
    "Promises": "coral_mtl.engine.observation",
    "Needs": "coral_mtl.engine.observation",
    "Solution": "coral_mtl.engine.solvers.solution",
    "Status": "coral_mtl.engine.solvers.solution",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name[:1].isupper():
        from coral_mtl.registry import strategies  # noqa: PLC0415 - finding a strategy imports torch

        classes = {cls.__name__: cls for cls in map(strategies.get, strategies.names())}
        if name in classes:
            return classes[name]
    raise AttributeError(f"module 'coral_mtl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

"""What torch, or the way a model is used, does not allow, told with what to do instead."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from coral_mtl.errors import StrategyError


def refuse_parallel(model: object) -> None:
    """Raise StrategyError for a model in DistributedDataParallel."""
    if isinstance(model, DistributedDataParallel):
        raise StrategyError(
            "DistributedDataParallel is not supported yet: its reducer takes one backward a step, and would leave "
            "the rows of all but the first task unreduced\n    train on one process"
        )


def refuse_optimizers_inside(parameters: Iterable[Tensor]) -> None:
    """Raise StrategyError where a parameter has a hook that wants its finished gradient during the backward pass."""
    for parameter in parameters:
        if getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise StrategyError(
                "a parameter has a post-accumulate-grad hook (an optimiser inside the backward pass?), which would "
                "run once per task on an unfinished gradient\n    step the optimiser after backward instead"
            )


@contextmanager
def explained_errors() -> Iterator[None]:
    """Say what to set where torch.compile stands in the way of several backward passes through one graph."""
    try:
        yield
    except RuntimeError as error:
        if "donated buffer" not in str(error):
            raise
        raise StrategyError(
            "torch.compile gave away buffers that a second backward pass through the same graph needs, because its "
            "first backward pass was a single one\n"
            "    set torch._functorch.config.donated_buffer = False before compiling"
        ) from error

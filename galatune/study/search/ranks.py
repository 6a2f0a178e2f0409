"""Several ranks of `torch.distributed`: a search that trains in them cannot be taken over."""

from __future__ import annotations

from galatune.controller.torch_hooks.distributed import place
from galatune.errors import PlanError

__all__ = ["check_ranks"]


def check_ranks() -> None:
    """Refuse a process that is one of several ranks.

    The others take part in each training, but nobody would tell them how many there are, nor control them.

    Raises:
        PlanError: It is one.
    """
    rank, ranks = place()
    if ranks > 1:
        raise PlanError(
            f"a trial trains in one process, however: this is rank {rank} of {ranks} of torch.distributed; "
            "let the script search by itself, with its learning rate left out and the training of each rank "
            "under galatune.controlled()"
        )

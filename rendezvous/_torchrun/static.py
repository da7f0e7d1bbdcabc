"""torchrun with ranks that are given: `torchrun --rdzv-backend=rendezvous-static
--rdzv-endpoint=HOST:PORT --rdzv-conf=rank=N ...`.

As torch's `static`, except that a server may have the port already. docs/torchrun.md says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.security import refuse_shown_token
from rendezvous._torchrun.handler import (
    show_log,
    torch_handler_class,
    torch_info,
    translated,
    warn_of_unknown,
)
from rendezvous.backends.static import STATIC_SETTINGS, StaticRendezvousHandler
from rendezvous.backends.static import create_handler as create_ours

if TYPE_CHECKING:
    from torch.distributed.elastic.rendezvous import RendezvousInfo as TorchInfo
    from torch.distributed.elastic.rendezvous import RendezvousParameters as TorchParameters

__all__ = ["TorchrunStaticHandler", "create_static_handler"]


def create_static_handler(params: TorchParameters) -> TorchrunStaticHandler:
    """A handler for torch's elastic agent. Raises ValueError for bad parameters."""
    show_log()
    refuse_shown_token(params.config)
    ours = RendezvousParameters(
        params.backend,
        params.endpoint,
        params.run_id,
        params.min_nodes,
        params.max_nodes,
        params.local_addr,
        # With the timeout of 900 s that torchrun adds: it is meant for this one.
        **warn_of_unknown(params.config, STATIC_SETTINGS),
    )
    made: TorchrunStaticHandler = torch_handler_class(TorchrunStaticHandler)(create_ours(ours))
    return made


class TorchrunStaticHandler:
    """What torch's agent asks; its class at run time is also derived from torch's handler."""

    def __init__(self, handler: StaticRendezvousHandler) -> None:
        self._handler = handler

    def get_backend(self) -> str:
        return self._handler.get_backend()

    def get_run_id(self) -> str:
        return self._handler.get_run_id()

    @property
    def use_agent_store(self) -> bool:
        return self._handler.use_agent_store

    def next_rendezvous(self) -> TorchInfo:
        """As StaticRendezvousHandler; its errors are torch's and ours at the same time."""
        with translated():
            info = self._handler.next_rendezvous()
        return torch_info(info, lambda: False)

    def is_closed(self) -> bool:
        return self._handler.is_closed()

    def set_closed(self) -> None:
        self._handler.set_closed()

    def num_nodes_waiting(self) -> int:
        return self._handler.num_nodes_waiting()

    def shutdown(self) -> bool:
        return self._handler.shutdown()

"""What torch loads of torchrun's plug-in in every process that imports torch elastic's rendezvous,
all workers among them: so it imports nothing."""

__all__ = ["create_handler", "create_static_handler", "get_creator", "get_static_creator"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.elastic.rendezvous import RendezvousParameters

    from rendezvous._torchrun.handler import TorchrunHandler
    from rendezvous._torchrun.static import TorchrunStaticHandler


def get_creator() -> "Callable[[RendezvousParameters], TorchrunHandler]":
    """What torch calls for the back-end `rendezvous`; see its RendezvousHandlerRegistry."""
    return create_handler


def get_static_creator() -> "Callable[[RendezvousParameters], TorchrunStaticHandler]":
    """And for `rendezvous-static`."""
    return create_static_handler


def create_handler(params: "RendezvousParameters") -> "TorchrunHandler":
    """As `rendezvous._torchrun.handler.create_handler`."""
    from rendezvous._torchrun import handler as torchrun

    return torchrun.create_handler(params)


def create_static_handler(params: "RendezvousParameters") -> "TorchrunStaticHandler":
    """As `rendezvous._torchrun.static.create_static_handler`."""
    from rendezvous._torchrun import static as _torchrun_static

    return _torchrun_static.create_static_handler(params)

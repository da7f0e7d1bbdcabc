"""What torch loads of torchrun's plug-in in every process that imports torch elastic's rendezvous,
all workers among them: so it imports nothing."""

__all__ = ["create_handler", "create_static_handler", "get_creator", "get_static_creator"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.elastic.rendezvous import RendezvousParameters

    from rendezvous._torchrun_static import TorchrunStaticHandler
    from rendezvous.torchrun import TorchrunHandler


def get_creator() -> "Callable[[RendezvousParameters], TorchrunHandler]":
    """What torch calls for the back-end `rendezvous`; see its RendezvousHandlerRegistry."""
    return create_handler


def get_static_creator() -> "Callable[[RendezvousParameters], TorchrunStaticHandler]":
    """And for `rendezvous-static`."""
    return create_static_handler


def create_handler(params: "RendezvousParameters") -> "TorchrunHandler":
    """As `rendezvous.torchrun.create_handler`."""
    from rendezvous import torchrun

    return torchrun.create_handler(params)


def create_static_handler(params: "RendezvousParameters") -> "TorchrunStaticHandler":
    """As `rendezvous._torchrun_static.create_static_handler`."""
    from rendezvous import _torchrun_static

    return _torchrun_static.create_static_handler(params)

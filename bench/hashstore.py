"""How fast is HashStore beside torch's HashStore? Information, not a gate.

    python bench/hashstore.py [--short] [--runs N] [--operations N] [--json FILE]

Without torch, ours is measured alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from compare import NO_TORCH, Operations, Table, measure, parse_arguments

import rendezvous

try:
    from torch.distributed import HashStore as TorchHashStore
except ImportError:
    TorchHashStore = None

VALUE = "x" * 64


def operations(store: Any) -> Operations:
    store.set("there", VALUE)
    store.set("cas", "a")
    return {
        "get": lambda: store.get("there"),
        "set": lambda: store.set("key", VALUE),
        "check": lambda: store.check(["there"]),
        "add": lambda: store.add("counter", 1),
        "compare_set": lambda: store.compare_set("cas", "a", "a"),
    }


def main() -> None:
    options = parse_arguments(__doc__, 100_000)
    stores: dict[str, Any] = {"ours": rendezvous.HashStore()}
    if TorchHashStore is not None:
        stores["torch"] = TorchHashStore()
    table = Table(__doc__, list(stores), options)
    made = {peer: operations(store) for peer, store in stores.items()}
    for name in made["ours"]:
        table.row(name, partial(measure, made, name, options.operations))
    table.finish({} if TorchHashStore is not None else {"torch": NO_TORCH})


if __name__ == "__main__":
    main()

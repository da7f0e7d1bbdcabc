"""`python -m rendezvous`: the same as the command `rendezvous`."""

import sys

from rendezvous.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

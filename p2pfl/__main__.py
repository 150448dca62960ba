"""`python -m p2pfl`: the same as the command `p2pfl`."""

import sys

from p2pfl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m sutler`` is the ``sutler`` command."""

import sys

from sutler.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""What is loaded behind READY: by the warm-up, or by whoever needs it first.

Two threads in the middle of imports that need each other's modules are given half-made ones,
so whoever loads a part of the daemon late holds ``LOADING``. Who comes meanwhile waits for it.
"""

from __future__ import annotations

import threading
from typing import Final

LOADING: Final = threading.RLock()

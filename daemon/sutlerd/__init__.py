"""sutlerd: one daemon, one quota, one cache, one budget for every process on a node."""

__version__ = "0.1.0"

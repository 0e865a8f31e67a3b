"""Processes forked from a parent that has imported torch: a start costs milliseconds in place of seconds.

::

    client ── Warm ──▶ the warm parent: imports, then listens; runs nothing
                          ├── fork: one function with one connection to the client
                          └── fork: …

The parent never runs an operation, asks for a device or starts a thread of its own: each would break in its forks. It
ends with the client that started it, also where that was killed. Other processes of this user may ask it for forks by
the path of its socket. A fork ends when its function returns and, unless it was started to outlive it, with the parent.
Nothing is pickled: a fork reads one line of JSON that names its function, and what else it was sent.
"""

from lab.warm.client import ROOT, Fork, Warm
from lab.warm.parent import adopt_orphans, end_with_parent
from lab.warm.protocol import read_line

__all__ = ["ROOT", "Fork", "Warm", "adopt_orphans", "end_with_parent", "read_line"]

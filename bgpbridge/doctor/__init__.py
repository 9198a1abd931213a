"""Is this machine fit to run bgpbridge? Each finding comes with its mend; nothing is changed here.

`examine` asks every check in turn. A check looks at one thing (a file, a sysctl, a link) and returns what it
found; where a check cannot look (no such file, no permission) it says that, and the rest goes on.
"""

from bgpbridge.doctor.checks import examine
from bgpbridge.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]

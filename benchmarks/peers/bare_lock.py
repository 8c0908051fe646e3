"""Take the addresses out of an npm lock file: `python -m benchmarks.peers.bare_lock FILE`.

npm leaves out where it found the packages if told so, and still writes down who may be thanked
for them, and where. It installs from the rest, by version and digest.
"""

import json
import sys
from pathlib import Path

OTIOSE = ("funding", "resolved", "deprecated")


def bare(lock: str) -> str:
    """Give the lock without what only people read."""
    locked = json.loads(lock)
    for package in locked["packages"].values():
        for field in OTIOSE:
            package.pop(field, None)
    return f"{json.dumps(locked, indent=2)}\n"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(bare(path.read_text()))

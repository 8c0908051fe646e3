"""Print the Debian packages that are missing here, for `make bench-peers` to install."""

import shutil

from benchmarks.peers import tools

NODE = {"node": "nodejs", "npm": "npm"}

print(
    *tools.missing_packages(),
    *(package for program, package in NODE.items() if shutil.which(program) is None),
)

"""Reads URL in ranges with fsspec, from the end to the beginning, and writes what it has read to FILE.

    read_ranges.py URL FILE [pause]

With `pause` it makes FILE.first behind its first range, and goes on when FILE.go is there.
"""

import os
import sys
import time

import fsspec

PIECE = 300_000
url, file = sys.argv[1:3]
filesystem = fsspec.filesystem("http", block_size=100_000)
pieces = []
with filesystem.open(url, "rb", cache_type="none") as remote:
    for start in reversed(range(0, remote.size, PIECE)):
        remote.seek(start)
        pieces.append(remote.read(PIECE))
        if len(sys.argv) > 3 and len(pieces) == 1:
            open(file + ".first", "w").close()
            while not os.path.exists(file + ".go"):
                time.sleep(0.01)
with open(file, "wb") as out:
    out.write(b"".join(reversed(pieces)))

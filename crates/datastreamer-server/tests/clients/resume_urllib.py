"""Gets URL into FILE with Range and If-Range, as a careful script does; run again, it resumes.

    resume_urllib.py URL FILE

FILE.etag has the tag of what FILE is a part of. Ends with 0 only if FILE is complete.
"""

import os
import sys
import urllib.request

url, file = sys.argv[1:]
tag_file = file + ".etag"
have = os.path.getsize(file) if os.path.exists(file) else 0
tag = open(tag_file).read() if os.path.exists(tag_file) else ""
request = urllib.request.Request(url)
if have and tag:
    request.add_header("Range", f"bytes={have}-")
    request.add_header("If-Range", tag)
with urllib.request.urlopen(request) as response:
    length = response.headers.get("Content-Length")
    if response.status == 206:
        where, whole = response.headers["Content-Range"].removeprefix("bytes ").split("/")
        assert int(where.split("-")[0]) == have
        assert int(where.split("-")[1]) + 1 == int(whole)
    with open(tag_file, "w") as out:
        out.write(response.headers.get("ETag", ""))
    got = 0
    with open(file, "ab" if response.status == 206 else "wb") as out:
        while piece := response.read(65536):
            out.write(piece)
            out.flush()
            got += len(piece)
if length is not None and got != int(length):
    sys.exit(f"{got} of {length} bytes")

"""Gets URL into FILE with Range and If-Range, as a careful script does; run again, it resumes.

    resume_requests.py URL FILE

FILE.etag has the tag of what FILE is a part of. Ends with 0 only if FILE is complete.
"""

import os
import sys

import requests

url, file = sys.argv[1:]
tag_file = file + ".etag"
have = os.path.getsize(file) if os.path.exists(file) else 0
tag = open(tag_file).read() if os.path.exists(tag_file) else ""
headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
with requests.get(url, headers=headers, stream=True) as response:
    response.raise_for_status()
    if response.status_code == 206:
        where, whole = response.headers["Content-Range"].removeprefix("bytes ").split("/")
        assert int(where.split("-")[0]) == have
        assert int(where.split("-")[1]) + 1 == int(whole)
    with open(tag_file, "w") as out:
        out.write(response.headers.get("ETag", ""))
    with open(file, "ab" if response.status_code == 206 else "wb") as out:
        # A response that is too short raises.
        for piece in response.iter_content(65536):
            out.write(piece)
            out.flush()

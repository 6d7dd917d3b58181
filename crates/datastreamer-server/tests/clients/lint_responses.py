"""Checks responses of every kind with httplint, the checks of REDbot.

    lint_responses.py BASE-URL FILE KEPT FAILING

FILE, KEPT and FAILING are paths: a file on disk, one that is made and kept, one whose source is broken.
Prints each note that says that a response is wrong, and ends with 1 if there is one.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

from httplint import HttpRequestLinter, HttpResponseLinter, levels

base, file, kept, failing = sys.argv[1:]
host = urlsplit(base).netloc
wrong = 0
# Of a response with several parts each part has its own (RFC 9110, 15.3.7.2).
NOT_WRONG = {("PARTIAL_WITHOUT_RANGE", "multipart/byteranges")}


def ask(what, path, method="GET", **headers):
    """Sends a request, and returns the response's headers."""
    global wrong
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()

    request_linter = HttpRequestLinter()
    url = (base + path).encode()
    request_linter.process_request_topline(method.encode(), url, b"HTTP/1.1")
    sent = {"Host": host, **headers}
    request_linter.process_headers([(n.encode(), v.encode()) for n, v in sent.items()])
    request_linter.finish_content(True)

    linter = HttpResponseLinter(
        start_time=time.time(), no_content=method == "HEAD", _related=request_linter
    )
    linter.base_uri = base + path
    linter.process_response_topline(
        b"HTTP/1.1", str(response.status).encode(), response.reason.encode()
    )
    fields = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response.getheaders()]
    linter.process_headers(fields)
    linter.feed_content(body)
    linter.finish_content(True)
    notes = list(linter.notes)
    print(f"{what}: {response.status}, {len(notes)} notes")
    media_type = response.headers.get("Content-Type", "").split(";")[0]
    for note in notes:
        name = type(note).__name__
        if note.level in (levels.BAD, levels.WARN) and (name, media_type) not in NOT_WRONG:
            print(f"  {note.level.name} {name}: {note.summary}")
            wrong += 1
    return response.headers


whole = ask("a file", file)
ask("its head", file, "HEAD")
ask("a range", file, Range="bytes=10-19")
ask("two ranges", file, Range="bytes=0-9,1000-1009")
ask("a range that is not there", file, Range="bytes=99999999-")
tag = whole["ETag"]
ask("nothing new", file, If_None_Match=tag)
ask("nothing new for a head", file, "HEAD", If_None_Match=tag)
ask("another version", file, If_Match='"other"')
ask("a range of another version", file, Range="bytes=10-19", If_Range='"other"')
ask("a production", kept)
ask("a complete production", kept)
ask("a production's head", kept, "HEAD")
ask("a production's range", kept, Range="bytes=10-19")
ask("a production's ranges", kept, Range="bytes=0-9,1000-1009")
ask("nothing new of a production", kept, If_None_Match=ask("it", kept)["ETag"])
ask("a broken source", failing)
ask("the index", "/")
ask("transfers", "/transfers")
ask("health", "/healthz")
ask("nobody's file", "/nobody.bin")
ask("a method", file, "DELETE")
ask("a coded file", kept, Accept_Encoding="gzip")
sys.exit(1 if wrong else 0)

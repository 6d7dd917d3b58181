"""Downloads URL to FILE with httpx, over HTTP/1.1 or HTTP/2 (prior knowledge) as the first argument
says. Any exception, or a status other than 200, is a failure."""

import os
import ssl
import sys

import httpx

protocol, url, file = sys.argv[1:]
versions = {"http1": {"http1": True, "http2": False}, "http2": {"http1": False, "http2": True}}
trusted = ssl.create_default_context(cafile=os.environ.get("TEST_AUTHORITY"))
options = {"trust_env": False, "timeout": None, "verify": trusted}
with httpx.Client(**options, **versions[protocol]) as client:
    with client.stream("GET", url) as response:
        if response.status_code != 200:
            sys.exit(f"status {response.status_code}")
        with open(file, "wb") as output:
            for piece in response.iter_bytes():
                output.write(piece)

"""Downloads URL to FILE with urllib.request, reading to the end in one call. Any exception, or a
status other than 200, is a failure."""

import sys
import urllib.request

url, file = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(url) as response:
    if response.status != 200:
        sys.exit(f"status {response.status}")
    body = response.read()
with open(file, "wb") as output:
    output.write(body)

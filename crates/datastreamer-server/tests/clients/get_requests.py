"""Downloads URL to FILE with requests. Any exception, or a status other than 200, is a failure."""

import os
import sys

import requests

url, file = sys.argv[1:]
session = requests.Session()
session.trust_env = False  # no proxies from the environment
session.verify = os.environ.get("TEST_AUTHORITY", True)
with session.get(url, stream=True) as response:
    if response.status_code != 200:
        sys.exit(f"status {response.status_code}")
    with open(file, "wb") as output:
        for piece in response.iter_content(65536):
            output.write(piece)

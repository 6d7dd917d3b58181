"""Downloads URL to FILE over HTTP/1.1 and takes a connection that is closed between two chunks for
the end of the file, as Apple's CFNetwork does. A reset, a broken chunk, fewer bytes than the
Content-Length, or a status other than 200, is a failure.

With `half-close` as a third argument it closes its half of the connection behind the request, and
is strict: a file of chunks ends with the last chunk."""

import socket
import sys
import urllib.parse

url, file, *half_close = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
connection = socket.create_connection((parts.hostname, parts.port))
target = parts.path + ("?" + parts.query if parts.query else "")
connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
if half_close:
    connection.shutdown(socket.SHUT_WR)
source = connection.makefile("rb")


def line():
    read = source.readline(65536)
    if read and not read.endswith(b"\r\n"):
        sys.exit(f"a line ends early: {read!r}")
    return read.strip()


status = line().split(b" ")[1]
if status != b"200":
    sys.exit(f"status {status.decode()}")
headers = {}
while header := line():
    name, value = header.split(b":", 1)
    headers[name.lower()] = value.strip()

with open(file, "wb") as output:

    def copy(length):
        while length:
            piece = source.read(min(length, 65536))
            if not piece:
                sys.exit("the file ends early")
            output.write(piece)
            length -= len(piece)

    if b"content-length" in headers:
        copy(int(headers[b"content-length"]))
        sys.exit(0)
    if headers.get(b"transfer-encoding") != b"chunked":
        sys.exit("neither a length nor chunks")
    while size := line():
        length = int(size, 16)  # a ValueError is a failure
        copy(length)
        if line() or length == 0:
            sys.exit(0 if length == 0 else "a chunk is longer than it says")
    if half_close:
        sys.exit("no last chunk")

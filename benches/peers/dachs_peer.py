#!/usr/bin/python3
"""The original as a peer: a stand-alone Twisted web server around the real
gavo.svcs.streaming.DataStreamer, for side-by-side measurements.

usage: /usr/bin/python3 dachs_peer.py PORT [--request dachs|twisted]

PORT may be 0; the address is printed on stdout.

Needs Debian's python3-gavo (apt-get install python3-gavo) and the system's python3.

Nothing of gavo is stubbed or patched.  Importing gavo.svcs.streaming from
the Debian package works without a config file and without a database.
base.ui messages (notifyError & co.) are echoed on stderr.

--request dachs   (default) requests are gavo.web.common.Request, the class the
                  DaCHS server itself uses (write() accepts str, ignores
                  writes to dead connections)
--request twisted requests are stock twisted.web.server.Request

Body bytes are deterministic: byte i of any stream is PAT[i % 1048573] with
PAT[j] = ((j*2654435761) >> 24) & 0xff.

GET /bytes?n=BYTES&piece=P[&cl=1]   n bytes written in pieces of P (cl=1 sets
                                    Content-Length; otherwise chunked)
GET /fail?after=BYTES[&piece=P]     raises ValueError after so many bytes
GET /ioerror?after=BYTES[&piece=P]  raises IOError ...
GET /stop?after=BYTES[&piece=P]     raises streaming.StopWriting ...
GET /slow?pieces=K&delay=S[&piece=P]  K pieces, sleeping S seconds before each
GET /text?s=STR                     writes str (not bytes), percent-decoded utf-8
GET /direct?n=BYTES&piece=P         what DaCHS' CSV/txt/JSON results do: write
                                    to the *request* from the source thread
GET /pull?n=BYTES&piece=P           baseline without DaCHS: an IPullProducer
                                    (as protocols.basic.FileSender) in the reactor
GET /ping                           immediate answer (for reactor latency)
GET /block?seconds=S                blocks the reactor thread for S seconds (cf. DaCHS'
                                    webtests.Block), to show queue growth
GET /stats                          JSON: threads, streamers, rss, cpu, queue, log of
                                    finished streams
"""

import argparse
import json
import os
import resource as res
import sys
import threading
import time
import traceback
import warnings

warnings.simplefilter("ignore", DeprecationWarning)

from twisted.internet import reactor, interfaces
from twisted.web import resource, server
from zope.interface import implementer

from gavo import base
from gavo.svcs import streaming
from gavo.web import common as webcommon

PERIOD = 1048573
PAT = bytes(((j*2654435761) >> 24) & 0xff for j in range(PERIOD))
MAXPIECE = 4*1024*1024
PAT2 = PAT*(MAXPIECE//PERIOD+2)

FINISHED = []       # records of source functions that have returned/raised
STREAMERS = {}      # id -> record of a stream in progress
_seq = [0]


def echo(kind):
    def show(arg):
        sys.stderr.write("[%.3f ui.%s] %s\n" % (time.time(), kind, arg))
        if sys.exc_info()[0] is not None and kind == "Error":
            traceback.print_exc()
        sys.stderr.flush()
    return show


for _k in ("Error", "Warning", "Info"):
    getattr(base.ui, "subscribe"+_k)(echo(_k))


def pieces(n, piece):
    done, off = 0, 0
    P2 = PAT2
    if piece > MAXPIECE and n > MAXPIECE:
        P2 = PAT*(min(n, piece)//PERIOD+2)
    while done < n:
        sz = piece if n-done >= piece else n-done
        yield P2[off:off+sz]
        done += sz
        off = (off+sz) % PERIOD


def arg(request, name, default, conv=int):
    v = request.args.get(name.encode("ascii"))
    return conv(float(v[0])) if v and conv is int else (
        conv(v[0]) if v else default)


def stream(request, kind, source):
    """hands source to streaming.streamOut, recording when it ended."""
    _seq[0] += 1
    ident = _seq[0]
    rec = {"id": ident, "kind": kind, "start": time.time(), "lost": None,
           "end": None, "written": 0, "exc": None}
    STREAMERS[ident] = rec

    def lost(f):
        rec["lost"] = time.time()

    request.notifyFinish().addErrback(lost)

    def wrapped(f):
        try:
            source(f, rec)
        except BaseException as ex:
            rec["exc"] = "%s: %s" % (type(ex).__name__, ex)
            raise
        finally:
            rec["end"] = time.time()
            STREAMERS.pop(ident, None)
            FINISHED.append(rec)
            del FINISHED[:-500]

    return streaming.streamOut(wrapped, request)


class Page(resource.Resource):
    isLeaf = True

    def __init__(self, fn):
        resource.Resource.__init__(self)
        self.fn = fn

    def render(self, request):
        request.setHeader(b"content-type", b"application/octet-stream")
        return self.fn(request)


def do_bytes(request):
    n, piece = arg(request, "n", 1000000), arg(request, "piece", 65536)
    if arg(request, "cl", 0):
        request.setHeader(b"content-length", b"%d" % n)

    def source(f, rec):
        w = f.write
        for p in pieces(n, piece):
            w(p)
            rec["written"] += len(p)
    return stream(request, "bytes", source)


def raiser(kind, excClass, msg):
    def do(request):
        after, piece = arg(request, "after", 0), arg(request, "piece", 4096)
        if arg(request, "cl", 0):
            request.setHeader(b"content-length", b"%d" % arg(request, "cl", 0))

        def source(f, rec):
            for p in pieces(after, piece):
                f.write(p)
                rec["written"] += len(p)
            raise excClass(msg)
        return stream(request, kind, source)
    return do


def do_slow(request):
    k = arg(request, "pieces", 10)
    delay = arg(request, "delay", 0.1, float)
    piece = arg(request, "piece", 1024)

    def source(f, rec):
        for p in pieces(k*piece, piece):
            time.sleep(delay)
            f.write(p)
            rec["written"] += len(p)
    return stream(request, "slow", source)


def do_text(request):
    s = request.args.get(b"s", [b""])[0].decode("utf-8")

    def source(f, rec):
        f.write(s)
    return stream(request, "text", source)


def do_direct(request):
    n, piece = arg(request, "n", 1000000), arg(request, "piece", 65536)

    def source(f, rec):
        for p in pieces(n, piece):
            request.write(p)
            rec["written"] += len(p)
    return stream(request, "direct", source)


@implementer(interfaces.IPullProducer)
class Puller:
    def __init__(self, request, n, piece):
        self.request, self.it = request, pieces(n, piece)
        request.registerProducer(self, False)

    def resumeProducing(self):
        if self.it is None:
            return
        for p in self.it:
            self.request.write(p)
            return
        self.it = None
        self.request.unregisterProducer()
        self.request.finish()

    def stopProducing(self):
        self.it = None


def do_pull(request):
    Puller(request, arg(request, "n", 1000000), arg(request, "piece", 65536))
    return server.NOT_DONE_YET


def do_ping(request):
    return b"pong\n"


def do_block(request):
    time.sleep(arg(request, "seconds", 1.0, float))
    return b"unblocked\n"


def do_stats(request):
    st = {}
    for ln in open("/proc/self/status"):
        k, _, v = ln.partition(":")
        if k in ("VmRSS", "VmHWM", "Threads"):
            st[k] = int(v.split()[0])
    ru = res.getrusage(res.RUSAGE_SELF)
    st.update(
        streamers=sum(isinstance(t, streaming.DataStreamer)
                      for t in threading.enumerate()),
        utime=ru.ru_utime, stime=ru.ru_stime, pid=os.getpid(),
        callQueue=len(reactor.threadCallQueue),
        live=list(STREAMERS.values()), finished=FINISHED[-20:])
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(st).encode("ascii")+b"\n"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("port", type=int)
    ap.add_argument("--request", choices=("dachs", "twisted"), default="dachs")
    ap.add_argument("--debug", action="store_true",
                    help="twisted log to stderr")
    args = ap.parse_args()
    if args.debug:
        from twisted.python import log
        log.startLogging(sys.stderr)
    root = resource.Resource()
    for name, fn in [("bytes", do_bytes),
                     ("fail", raiser("fail", ValueError, "wanton source failure")),
                     ("ioerror", raiser("ioerror", IOError, "wanton I/O failure")),
                     ("stop", raiser("stop", streaming.StopWriting, "wanton stop")),
                     ("slow", do_slow), ("text", do_text),
                     ("direct", do_direct), ("pull", do_pull),
                     ("ping", do_ping), ("block", do_block), ("stats", do_stats)]:
        root.putChild(name.encode("ascii"), Page(fn))
    site = server.Site(root, timeout=300)     # as gavo/web/root.py
    site.requestFactory = (webcommon.Request if args.request == "dachs"
                           else server.Request)
    port = reactor.listenTCP(
        args.port, site, backlog=1024, interface="127.0.0.1").getHost().port
    print("listening on http://127.0.0.1:%d" % port, flush=True)
    sys.stderr.write("dachs_peer on %d, pid %d, request class %s\n" % (
        port, os.getpid(), site.requestFactory))
    sys.stderr.flush()
    reactor.run()


if __name__ == "__main__":
    main()

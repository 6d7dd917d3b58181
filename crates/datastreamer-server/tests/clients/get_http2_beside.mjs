// Downloads URL to FILE over HTTP/2 (prior knowledge) on a connection on which another download has
// stalled: its window is full, and nobody reads it. A reset of the stream, the end of the connection,
// or a status other than 200, is a failure.

import { createWriteStream } from "node:fs";
import { connect, constants } from "node:http2";

// Whatever ends the process without a verdict is no success.
process.exitCode = 1;

const [url, file] = process.argv.slice(2);
const { origin, pathname, search } = new URL(url);
const session = connect(origin);
session.on("error", fail);

function fail(error) {
  console.error(error.message ?? error);
  process.exit(1);
}

const stalled = session.request({ ":path": "/noise.bin?n=1000000000&piece=65536" });
stalled.on("error", () => {}); // it may be dropped
stalled.pause();
stalled.on("response", () => setTimeout(download, 100));

function download() {
  const stream = session.request({ ":path": pathname + search });
  stream.on("error", fail);
  stream.on("aborted", () => fail("aborted"));
  stream.on("response", (headers) => {
    if (headers[":status"] !== 200) fail(`status ${headers[":status"]}`);
  });
  const output = createWriteStream(file);
  stream.pipe(output);
  let ended = false;
  stream.on("end", () => (ended = true));
  stream.on("close", () => {
    if (!ended || stream.rstCode !== constants.NGHTTP2_NO_ERROR) fail(`reset ${stream.rstCode}`);
    output.on("close", () => process.exit(0));
    output.end();
  });
}

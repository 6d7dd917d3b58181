// Downloads URL to FILE with node's fetch, which asks for `Connection: close` where a third
// argument says so. Any exception, or a status other than 200, is a failure.

import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const [url, file, closing] = process.argv.slice(2);
const headers = closing ? { connection: "close" } : {};
const response = await fetch(url, { headers });
if (response.status !== 200) {
  console.error(`status ${response.status}`);
  process.exit(1);
}
await pipeline(Readable.fromWeb(response.body), createWriteStream(file));

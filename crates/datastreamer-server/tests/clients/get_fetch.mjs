// Downloads URL to FILE with node's fetch. Any exception, or a status other than 200, is a failure.

import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const [url, file] = process.argv.slice(2);
const response = await fetch(url);
if (response.status !== 200) {
  console.error(`status ${response.status}`);
  process.exit(1);
}
await pipeline(Readable.fromWeb(response.body), createWriteStream(file));

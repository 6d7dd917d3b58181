// One headless Chromium that serves many downloads, because it takes long to start.
//
//   node chromium.mjs DIRECTORY-OF-PLAYWRIGHT-CORE
//
// Says "ready" when it runs. Each line of input is an order, each answer a line, in any order:
//
//   ID <tab> download|begin|resume|fetch|view|click-through <tab> URL <tab> FILE
//   ID <tab> fetch-from <tab> URL <tab> FILE <tab> PAGE
//   ID <tab> ok
//   ID <tab> failed <tab> REASON
//
// "download" is what a reader gets who clicks on a link; "fetch" is what the script of a page gets.
// "begin" is a download that may be interrupted, and saves nothing; "resume" is the reader who then opens
// the list of downloads, and resumes it.
// "fetch-from" is what the script of PAGE gets, which may be of another origin: the file, its ETag,
// and a part of it by that. "view" fails if the page's own policy blocks anything of it; it saves nothing.
// "click-through" is a reader of a page with 100 of the invented stars.
// The end of the input closes the browser and ends the program.
//
// Playwright gives the browser a new profile directory and removes it.

import { copyFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [playwrightDirectory] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwrightDirectory);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const context = await browser.newContext({ acceptDownloads: true, ignoreHTTPSErrors: true });
context.setDefaultTimeout(0); // who gives the orders has the clock

// A page may still be told of an earlier order's download: which one it is, its URL says.
function nextDownload(page, isExpected) {
  const downloading = page.waitForEvent("download", (download) => isExpected(download.url()));
  downloading.catch(() => {}); // it fails when the browser is closed before there is one
  return downloading;
}

async function save(downloading, file) {
  const download = await downloading;
  const failure = await download.failure();
  if (failure) throw new Error(`download: ${failure}`);
  await download.saveAs(file);
  await download.delete();
}

async function download(page, url, file) {
  const downloading = nextDownload(page, (downloaded) => downloaded === url);
  let response;
  try {
    response = await page.goto(url);
  } catch (error) {
    // This is how Playwright says that the navigation became a download.
    if (!/Download is starting|net::ERR_ABORTED/.test(error.message)) throw error;
  }
  if (response) throw new Error(`status ${response.status()}, and a page instead of a download`);
  await save(downloading, file);
}

// The list of downloads, so high that it shows all of them.
let list;

async function openList() {
  const page = await context.newPage();
  await page.setViewportSize({ width: 800, height: 20000 });
  await page.goto("chrome://downloads/");
  return page;
}

// What the list says of the download of a URL; `action` is the button there that is pressed.
async function listed(url, action) {
  list ??= openList();
  const look = ([url, action]) => {
    const manager = document.querySelector("downloads-manager");
    const items = [...manager.shadowRoot.querySelectorAll("downloads-item")];
    const item = items.find((item) => item.data?.url === url);
    if (!item) return null;
    if (action) item.shadowRoot.querySelector(action).click();
    const { state, resume, retry, filePath, lastReasonText } = item.data;
    return { isComplete: state === 2, isOver: state === 1 || resume || retry, resume, filePath, lastReasonText };
  };
  return (await list).evaluate(look, [url, action]);
}

// Waits until the download of a URL is complete or interrupted.
async function settled(page, url) {
  for (;;) {
    const item = await listed(url);
    if (item?.isComplete || item?.isOver) return item;
    await page.waitForTimeout(50);
  }
}

async function begin(page, url) {
  let response;
  try {
    response = await page.goto(url);
  } catch (error) {
    // It was cut within its head: there is nothing to resume.
    if (/net::ERR_(EMPTY_RESPONSE|CONNECTION_|INVALID_HTTP|RESPONSE_HEADERS)/.test(error.message)) return null;
    if (!/Download is starting|net::ERR_ABORTED/.test(error.message)) throw error;
  }
  if (response) throw new Error(`status ${response.status()}, and a page instead of a download`);
  return settled(page, url);
}

async function resume(page, url, file) {
  let item = await listed(url);
  if (!item) {
    item = await begin(page, url);
  } else if (item.isOver) {
    if (!item.resume) throw new Error(`cannot be resumed: ${item.lastReasonText}`);
    await listed(url, "#pause-or-resume");
    // The list tells it a moment later.
    for (let waits = 0; waits < 20 && (await listed(url)).isOver; waits += 1) await page.waitForTimeout(50);
    item = await settled(page, url);
  }
  if (!item) throw new Error("no download");
  await listed(url, "#quick-remove");
  if (!item.isComplete) throw new Error(`interrupted: ${item.lastReasonText}`);
  await copyFile(item.filePath, file);
  await rm(item.filePath);
}

async function fetchInPage(page, url, file) {
  // A blank page of the same origin, which the server need not have.
  const blank = new URL("/blank-page-of-the-test", url).href;
  await page.route(blank, (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
  );
  await page.goto(blank);
  await page.unroute(blank); // without this every request would go through Playwright

  await page.evaluate(async (url) => {
    const response = await fetch(url);
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    globalThis.body = await response.arrayBuffer();
  }, url);

  await saveBody(page, file);
}

// What the page has got is saved as pages save what they have made.
async function saveBody(page, file) {
  const downloading = nextDownload(page, (downloaded) => downloaded.startsWith("blob:"));
  await page.evaluate(() => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([globalThis.body]));
    link.download = "body";
    link.click();
  });
  await save(downloading, file);
}

async function fetchFrom(page, url, file, from) {
  await page.goto(from);
  await page.evaluate(async (url) => {
    const response = await fetch(url);
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    globalThis.body = await response.arrayBuffer();
    const etag = response.headers.get("etag");
    if (!etag) throw new Error("there is no ETag to be seen");
    // The browser asks first whether it may send If-Range.
    const part = await fetch(url, { headers: { Range: "bytes=1-3", "If-Range": etag } });
    if (part.status !== 206) throw new Error(`status ${part.status} of a part`);
    const range = part.headers.get("content-range");
    if (!range?.startsWith("bytes 1-3/")) throw new Error(`Content-Range: ${range}`);
  }, url);
  await saveBody(page, file);
}

async function view(page, url) {
  const problems = [];
  const note = (message) => message.type() === "error" && problems.push(message.text());
  page.on("console", note);
  try {
    await page.goto(url);
    const margin = await page.evaluate(() => getComputedStyle(document.body).margin);
    if (margin !== "0px") problems.push(`the style does not apply: ${margin}`);
    await page.waitForTimeout(500); // a blocked icon shows after the page
  } finally {
    page.off("console", note);
  }
  if (problems.length) throw new Error(problems.join("; "));
}

async function clickThrough(page, url) {
  const problems = [];
  const note = (message) => message.type() === "error" && problems.push(message.text());
  page.on("console", note);
  const expect = (what, is) => {
    if (!is) throw new Error(`${page.url()}: ${what}`);
  };
  const says = async (text) => {
    const end = await page.textContent("p.end");
    expect(`${text}, and not ${end}`, end.startsWith(text));
  };
  const follow = (name) => page.click(`nav[aria-label=pages] >> text="${name}"`);
  const cells = async (name) => {
    const heads = await page.$$eval("th", (heads) => heads.map((th) => th.firstChild.textContent));
    const place = heads.indexOf(name) + 1;
    const texts = await page.$$eval(`td:nth-child(${place})`, (all) => all.map((td) => td.textContent));
    return texts.map(Number);
  };
  const parameter = (name) => new URL(page.url()).searchParams.get(name);
  try {
    await page.goto(url);
    await says("Rows 1 to 100 of 9000 ");
    await follow("next");
    await says("Rows 101 to 200 of 9000 ");
    await follow("next");
    await follow("previous");
    await says("Rows 101 to 200 of 9000 ");
    for (const [direction, sign] of [["ascending", 1], ["descending", -1]]) {
      await page.click("th a >> text=ra");
      await says("Rows 1 to 100 of 9000 ");
      expect("sorted", (await page.textContent(`th[aria-sort=${direction}]`)).startsWith("ra"));
      const values = await cells("ra");
      const isSorted = values.every((value, at) => at === 0 || sign * (value - values[at - 1]) >= 0);
      expect(`sorted by ra, ${direction}`, values.length === 100 && isSorted);
    }
    // By the keyboard, and by the labels that are read aloud.
    await page.getByLabel("column").selectOption("dec");
    await page.getByLabel("condition").selectOption("gt");
    await page.getByLabel("value").fill("30");
    await page.keyboard.press("Enter");
    await page.waitForSelector("text=dec=gt.30");
    const found = await cells("dec");
    expect("filtered", found.length === 100 && found.every((value) => value > 30));
    expect("the order is kept", parameter("order") === "ra.desc" && parameter("limit") === "100");
    await follow("next");
    await says("Rows 101 to 200 of a table that has more");
    expect("the filter is kept", (await cells("dec")).every((value) => value > 30));
    await page.getByLabel("remove dec=gt.30").click();
    await says("Rows 1 to 100 of 9000 ");
    expect("the filter is gone", (await cells("dec")).some((value) => value <= 30));
    const isWide = await page.evaluate(() => document.body.scrollWidth > innerWidth);
    expect("the page itself scrolls sideways", !isWide);
  } finally {
    page.off("console", note);
  }
  if (problems.length) throw new Error(problems.join("; "));
}

const ways = { download, begin, resume, fetch: fetchInPage, "fetch-from": fetchFrom, view, "click-through": clickThrough };

// Pages that wait for an order. A new page costs more than most downloads.
const idlePages = [];

async function newPage() {
  const page = await context.newPage();
  // Two that share a cache wait for each other when they ask for the same URL.
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  return page;
}

async function serve(line) {
  const [id, way, url, file, from] = line.split("\t");
  const page = idlePages.pop() ?? (await newPage());
  let answer;
  try {
    await ways[way](page, url, file, from);
    answer = "ok";
  } catch (error) {
    answer = `failed\t${String(error.message).replace(/\s+/g, " ")}`;
  }
  idlePages.push(page);
  console.log(`${id}\t${answer}`);
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) serve(line);
await browser.close();

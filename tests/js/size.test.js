import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { it } from "node:test";
import { gzipSync } from "node:zlib";

const MODULES = new URL("../../static/themis/", import.meta.url);
const BUDGET = 30_000;

const read = (name) => readFileSync(new URL(name, MODULES));
const gzipped = (content) => gzipSync(content, { level: 9 }).length;

/** A module and all that it imports, at once and not later. */
function closure(name, found = new Set()) {
  found.add(name);
  for (const [, next] of read(name).toString().matchAll(/^import .* from "\.\/([\w-]+\.js)";$/gm)) {
    if (!found.has(next)) closure(next, found);
  }
  return [...found];
}

it("all modules are less than 30,000 bytes, gzipped as they are", (test) => {
  const names = readdirSync(MODULES).filter((name) => name.endsWith(".js")).sort();
  const size = gzipped(Buffer.concat(names.map(read)));
  test.diagnostic(`${size} bytes in ${names.length} modules`);
  assert.ok(size < BUDGET, `${size} bytes`);
});

it("a page with a bell loads less than 30,000 bytes before somebody opens it", (test) => {
  const names = closure("define.js");
  const size = names.reduce((sum, name) => sum + gzipped(read(name)), 0);
  test.diagnostic(`${size} bytes in ${names.length} modules`);
  assert.ok(size < BUDGET, `${size} bytes`);
});

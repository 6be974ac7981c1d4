import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { it } from "node:test";

const MODULES = new URL("../../static/themis/", import.meta.url);

/** From what is looked at first to what knows nobody; a module imports from below only. */
const LAYERS = [
  ["define", "define-inbox", "define-desktop"],
  ["bell", "inbox", "desktop-element"],
  ["panel", "mailbox", "desktop"],
  ["list"],
  ["row", "announcer", "events", "placement", "lifecycle"],
  ["note"],
  ["store", "connection", "operations", "tabs", "older"],
  ["polling", "device", "socket", "resync", "relative-time", "template"],
  ["protocol", "links", "keys", "filters", "address", "backoff", "clock", "storage"],
];

/** Loaded when they are needed, and in a form that Django can hash, too. */
const LAZY = { bell: ["panel", "desktop"] };

it("modules import each other in one direction, in the forms that can be hashed", () => {
  const names = readdirSync(MODULES).filter((name) => name.endsWith(".js")).map((name) => name.slice(0, -3));
  assert.deepEqual(names.toSorted(), LAYERS.flat().toSorted());
  const layerOf = (name) => LAYERS.findIndex((layer) => layer.includes(name));
  for (const name of names) {
    const source = readFileSync(new URL(`${name}.js`, MODULES), "utf8");
    for (const line of source.split("\n").filter((text) => /^import\b|^export .* from/.test(text))) {
      const match = /^import \{ [\w, ]+ \} from "\.\/([\w-]+)\.js";$/.exec(line);
      assert.ok(match, `${name}.js: ${line}`);
      assert.ok(layerOf(match[1]) > layerOf(name), `${name}.js must not import ${match[1]}.js`);
    }
    const lazy = [...source.matchAll(/\bimport\((.*?)\)/g)].map(([, url]) => /^"\.\/([\w-]+)\.js"$/.exec(url)?.[1]);
    assert.deepEqual(lazy, LAZY[name] ?? [], name);
  }
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matches } from "../../static/themis/filters.js";
import { keyAction } from "../../static/themis/keys.js";
import { item } from "./harness.js";

const NOTHING_HELD = { shiftKey: false, ctrlKey: false, altKey: false, metaKey: false };
const FRESH = { ...NOTHING_HELD, isComposing: false, defaultPrevented: false };

const press = (key, fields = {}) => keyAction({ ...FRESH, key, ...fields });

describe("a key in a list", () => {
  it("does what the help says", () => {
    for (const [key, action] of Object.entries({
      ArrowDown: "next",
      j: "next",
      ArrowUp: "previous",
      k: "previous",
      e: "dismiss",
      z: "undo",
      "?": "help",
    })) {
      assert.equal(press(key), action, key);
    }
    assert.equal(press("I", { shiftKey: true }), "read");
    assert.equal(press("U", { shiftKey: true }), "unread");
  });

  it("is asked for by what is pressed, not by what a lock of capitals makes of it", () => {
    assert.equal(press("J"), "next");
    assert.equal(press("i", { shiftKey: true }), "read");
    assert.equal(press("I"), undefined);
    assert.equal(press("E", { shiftKey: true }), undefined);
  });

  it("asks for help on every layout, with shift or without", () => {
    assert.equal(press("?", { shiftKey: true }), "help");
  });

  it("is left alone where it is something else", () => {
    for (const key of ["Enter", "Tab", " ", "x", "constructor"]) assert.equal(press(key), undefined, key);
    for (const held of ["ctrlKey", "altKey", "metaKey", "isComposing", "defaultPrevented"]) {
      assert.equal(press("e", { [held]: true }), undefined, held);
      assert.equal(press("?", { [held]: true }), undefined, held);
    }
  });
});

describe("a filtered list", () => {
  const unread = item(1, { level: "danger", source: { app: "tasks", model: "", id: "" } });
  const read = { ...unread, read_at: "2026-11-22T10:00:00Z" };
  const filters = (fields) => ({ state: "all", level: "", sourceApp: "", ...fields });

  it("shows what its state says", () => {
    for (const [state, expected] of [
      ["all", [true, true]],
      ["unread", [true, false]],
      ["read", [false, true]],
      ["dismissed", [false, false]],
    ]) {
      assert.deepEqual([unread, read].map((one) => matches(one, filters({ state }))), expected, state);
    }
  });

  it("is narrowed by level and by source", () => {
    assert.equal(matches(unread, filters({ level: "danger", sourceApp: "tasks" })), true);
    assert.equal(matches(unread, filters({ level: "info" })), false);
    assert.equal(matches(unread, filters({ sourceApp: "events" })), false);
  });
});

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";

import {
  CLOSE,
  closeMeaning,
  compareIds,
  countLabel,
  countText,
  decode,
  isStateFrame,
  withPosition,
} from "../../static/themis/protocol.js";
import { foreignHost, isLink } from "../../static/themis/links.js";

const WIRE = new URL("../wire/", import.meta.url);
const wire = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, WIRE), "utf8"));
const recode = (frame) => decode(JSON.stringify(frame));

describe("the wire fixtures", () => {
  const fromServer = ["snapshot", "changes", "changes-removed", "ping", "pong", "restart", "error"];
  const notForPages = ["ack", "sync", "client-ping", "problem"];

  it("are all known to this test", () => {
    const names = readdirSync(WIRE).map((name) => name.replace(".json", ""));
    assert.deepEqual(names.toSorted(), [...fromServer, ...notForPages].toSorted());
  });

  for (const name of fromServer) {
    it(`${name} is understood, and so are fields it may get later`, () => {
      assert.deepEqual(recode(wire(name)), wire(name));
      assert.deepEqual(recode({ ...wire(name), later: 1 }), { ...wire(name), later: 1 });
    });
  }

  for (const name of notForPages) {
    it(`${name} is nothing a page takes from a server`, () => {
      assert.equal(recode(wire(name)), null);
    });
  }

  it("lose their meaning without any one of their fields", () => {
    for (const name of fromServer) {
      for (const field of Object.keys(wire(name))) {
        const { [field]: _, ...rest } = wire(name);
        assert.equal(recode(rest), null, `${name} without ${field}`);
      }
    }
    const { items, ...rest } = wire("snapshot");
    for (const field of Object.keys(items[0])) {
      const { [field]: _, ...broken } = items[0];
      assert.equal(recode({ ...rest, items: [broken] }), null, `an item without ${field}`);
    }
  });

  it("have one kind that holds state", () => {
    const holding = fromServer.filter((name) => isStateFrame(recode(wire(name))));
    assert.deepEqual(holding, ["snapshot", "changes", "changes-removed"]);
    assert.equal(isStateFrame(null), false);
  });
});

describe("decode", () => {
  it("answers null for what is no frame", () => {
    for (const text of ["", "{", "null", "[]", "7", '"snapshot"', "{}", '{"type":7}', '{"type":"gossip"}', '{"type":"toString"}', new ArrayBuffer(2)]) {
      assert.equal(decode(text), null);
    }
  });

  it("answers null for another version and for mistyped fields", () => {
    const frame = wire("changes-removed");
    for (const broken of [
      { v: 2 }, { epoch: "" }, { epoch: 1 }, { revision: -1 }, { revision: "19" }, { revision: 1.5 },
      { since: null }, { unread: null }, { items: {} }, { items: [null] }, { removed: [42] },
      { removed: ["x"] }, { now: "soon" }, { poll_interval: -1 }, { desktop: "yes" },
    ]) {
      assert.equal(recode({ ...frame, ...broken }), null, JSON.stringify(broken));
    }
  });
});

describe("close codes", () => {
  it("tell a page what to do", () => {
    const meanings = Object.entries(CLOSE).map(([name, code]) => [name, closeMeaning(code)]);
    assert.deepEqual(Object.fromEntries(meanings), {
      MALFORMED: "poll",
      SIGNED_OUT: "stop",
      WRONG_ORIGIN: "poll",
      TOO_SLOW: "backoff",
      RESTART: "restart",
      TOO_MANY: "poll",
      UNAVAILABLE: "backoff",
    });
  });

  it("mean backoff when they mean nothing special", () => {
    for (const code of [0, 1000, 1001, 1006, 1011, 1012, 1013, 4000, 4999]) {
      assert.equal(closeMeaning(code), "backoff");
    }
  });
});

describe("counts", () => {
  it("have a label that is empty for zero and capped at 99", () => {
    const labels = [0, 1, 99, 100, 10000].map((count) => countLabel(count, "en"));
    assert.deepEqual(labels, ["", "1", "99", "99+", "99+"]);
  });

  it("have a text that is exact as far as the wire is", () => {
    const texts = [0, 134, 9999, 10000].map((count) => countText(count, "en"));
    assert.deepEqual(texts, ["0", "134", "9,999", "9,999+"]);
  });

  it("are written in the digits of the page's language", () => {
    assert.equal(countLabel(100, "ar-EG"), "٩٩+");
  });
});

describe("ids", () => {
  it("compare as numbers beyond what a double holds", () => {
    const sorted = ["9007199254740993", "10", "9", "9007199254740992"].sort(compareIds);
    assert.deepEqual(sorted, ["9", "10", "9007199254740992", "9007199254740993"]);
    assert.equal(compareIds("7", "7"), 0);
  });
});

describe("links", () => {
  const allowed = ["/", "/x", "/x?y=//z#w", "/a:b", "http://example.org", "https://example.org/x", "HTTPS://EXAMPLE.org/", "https://[::1]:8000/"];
  const refused = [
    "", "x", "#x", "?x", "//host", "/\\host", "\\\\host", "javascript:alert(1)", "JaVaScRiPt:alert(1)",
    "\tjavascript:alert(1)", "java\nscript:alert(1)", " javascript:alert(1)", "data:text/html,x",
    "vbscript:x", "ftp://host/", "mailto:a@b", "https:", "https://", "https:/host", "https:\\\\host",
    "https:///host", "https://a@b", "https://a:b@c/", "https://:b@c/", "/a\u0000b", "/a\nb", "/\t/host", "/a\u007fb",
    "/\u0085", `/${"x".repeat(2000)}`, null, undefined, 7,
  ];

  for (const url of allowed) it(`may be ${url}`, () => assert.equal(isLink(url), true));
  for (const url of refused) {
    it(`may not be ${JSON.stringify(url)?.slice(0, 40)}`, () => assert.equal(isLink(url), false));
  }

  it("know whether they lead away", () => {
    const origin = "https://example.org";
    assert.equal(foreignHost("/x", origin), "");
    assert.equal(foreignHost("https://example.org/x", origin), "");
    assert.equal(foreignHost("https://else.where:81/x", origin), "else.where:81");
    assert.equal(foreignHost("javascript:alert(1)", origin), "");
  });
});

describe("a position", () => {
  it("is told whole or not at all", () => {
    assert.equal(withPosition("/api/state", { epoch: null, revision: 0 }), "/api/state");
    assert.equal(withPosition("/api/state", { epoch: "a&b", revision: 7 }), "/api/state?since=7&epoch=a%26b");
    assert.equal(withPosition("/s?x=1", { epoch: "e", revision: 0 }), "/s?x=1&since=0&epoch=e");
  });
});

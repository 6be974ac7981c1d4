import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { Operation, Operations } from "../../static/themis/operations.js";
import { changes, fakeFetch, item, settle } from "./harness.js";

const AT = "2026-11-22T10:00:05.000001Z";
const NOW = "2026-11-22T10:00:05Z";
const ITEMS = [item(5), item(4, { read_at: "2026-11-22T10:00:00Z" }), item(3), item(2)];

describe("operations", () => {
  let fetch;
  let told;
  let operations;

  beforeEach(() => {
    fetch = fakeFetch();
    told = [];
    const note = (what) => (value) => told.push(value === undefined ? what : [what, value.revision]);
    operations = new Operations({
      url: "/n/api/notifications",
      headers: () => ({ "X-CSRFToken": "token" }),
      fetch,
      holder: {
        onAnswer: note("answer"),
        onSignedOut: note("signed out"),
        onOutdated: note("outdated"),
        onChange: note("change"),
      },
    });
  });

  const run = (verb, selection) => {
    const operation = new Operation(verb, selection, NOW);
    return { operation, finished: operations.run(operation) };
  };
  const shown = (unread = 3, items = ITEMS) => {
    const view = operations.overlay(items, unread);
    return [view.items.map(({ id, read_at }) => (read_at === null ? id : `(${id})`)).join(" "), view.unread];
  };

  it("show nothing of their own when there are none", () => {
    assert.deepEqual(operations.overlay(ITEMS, 3), { items: ITEMS, unread: 3 });
  });

  it("are sent as the API wants them", async () => {
    run("read", { ids: ["5"] });
    run("read", { upTo: 5, epoch: "e1" });
    run("restore", { at: AT });
    assert.deepEqual(
      fetch.requests.map(({ url, init }) => [url, JSON.parse(init.body)]),
      [
        ["/n/api/notifications/read", { ids: ["5"] }],
        ["/n/api/notifications/read", { up_to: 5, epoch: "e1" }],
        ["/n/api/notifications/restore", { at: AT }],
      ],
    );
    const [{ init }] = fetch.requests;
    assert.equal(init.method, "POST");
    assert.equal(init.keepalive, true);
    assert.equal(init.headers["X-CSRFToken"], "token");
  });

  it("show at once what they will do", () => {
    run("read", { ids: ["5", "4"] });
    assert.deepEqual(shown(), ["(5) (4) 3 2", 2]);
    run("unread", { ids: ["4"] });
    assert.deepEqual(shown(), ["(5) 4 3 2", 3]);
    run("dismiss", { ids: ["3"] });
    assert.deepEqual(shown(), ["(5) 4 2", 2]);
    run("read", { upTo: 4, epoch: "e1" });
    assert.deepEqual(shown(), ["(5) (4) (2)", 0]);
  });

  it("leave unread what came after all that is read", () => {
    run("read", { upTo: 4, epoch: "e1" });
    assert.deepEqual(shown(250), ["5 (4) (3) (2)", 1]);
  });

  it("undo by time what an operation did, and nothing else", () => {
    const items = [item(5, { read_at: AT }), item(4, { read_at: "2026-11-22T10:00:00Z" })];
    run("unread", { at: AT });
    assert.deepEqual(shown(0, items), ["5 (4)", 1]);
  });

  it("count on from more than the wire can say, without a number of their own", () => {
    run("read", { ids: ["5"] });
    assert.deepEqual(shown(10_000), ["(5) (4) 3 2", 10_000]);
  });

  it("end with the server's answer, which is taken in before they go", async () => {
    fetch.answers.push([200, { ...changes(5, 6), at: AT }]);
    const { operation, finished } = run("read", { ids: ["5"] });
    assert.equal(operation.state, "pending");
    assert.equal(await finished, true);
    assert.deepEqual(told, ["change", ["answer", 6], "change"]);
    assert.deepEqual([operation.state, operation.at], ["done", AT]);
    assert.deepEqual(shown(), ["5 (4) 3 2", 3]);
  });

  it("are taken back when the server refuses, remembered, and can be tried again", async () => {
    fetch.answers.push([500, null]);
    const { operation, finished } = run("read", { ids: ["5"] });
    assert.equal(await finished, false);
    assert.deepEqual(shown(), ["5 (4) 3 2", 3]);
    assert.equal(operations.failureOf("5"), operation);
    assert.equal(operations.failureOf("4"), undefined);
    assert.equal(operations.failure, undefined);

    const again = operations.run(operation);
    assert.equal(operations.failureOf("5"), undefined);
    assert.deepEqual(shown(), ["(5) (4) 3 2", 2]);
    fetch.requests[1].answer(200, changes(5, 6));
    assert.equal(await again, true);
  });

  it("about many are remembered apart from those about one", async () => {
    fetch.answers.push([500, null]);
    const { operation, finished } = run("read", { upTo: 5, epoch: "e1" });
    await finished;
    assert.equal(operations.failure, operation);
    assert.equal(operations.failureOf("5"), undefined);
  });

  it("forget an earlier failure when the person does something else", async () => {
    fetch.answers.push([500, null]);
    await run("dismiss", { ids: ["5"] }).finished;
    run("read", { ids: ["3"] });
    assert.equal(operations.failureOf("5"), undefined);
  });

  it("that did not reach the server are sent when it is back, if they only read", async () => {
    for (const verb of ["read", "dismiss"]) {
      const { finished } = run(verb, { ids: ["5"] });
      fetch.requests.at(-1).fail();
      assert.equal(await finished, false);
    }
    assert.deepEqual(shown(), ["5 (4) 3 2", 3]);
    operations.resume();
    assert.deepEqual(fetch.requests.map(({ url }) => url.split("/").at(-1)), ["read", "dismiss", "read"]);
    fetch.requests[2].answer(200, changes(5, 6));
    await settle();
    assert.equal(operations.failureOf("5").verb, "dismiss");
    operations.resume();
    assert.equal(fetch.requests.length, 3);
  });

  it("that find nothing are done if they were about some, and make the page ask", async () => {
    fetch.answers.push([404, null], [409, null]);
    assert.equal(await run("read", { ids: ["5"] }).finished, true);
    assert.equal(await run("read", { upTo: 5, epoch: "old" }).finished, false);
    assert.deepEqual(told.filter((what) => what === "outdated").length, 2);
  });

  it("tell of an ended session, and can be forgotten", async () => {
    fetch.answers.push([401, null]);
    assert.equal(await run("read", { ids: ["5"] }).finished, false);
    assert.ok(told.includes("signed out"));
    operations.clear();
    assert.equal(operations.failureOf("5"), undefined);
  });

  it("take an answer that is no frame for a failure", async () => {
    fetch.answers.push([200, { type: "changes" }]);
    assert.equal(await run("read", { ids: ["5"] }).finished, false);
  });
});

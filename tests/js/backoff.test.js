import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { backoff, CAP, CAP_NEVER_OPENED, spread } from "../../static/themis/backoff.js";

describe("backoff", () => {
  it("lies between 250 ms and twice as much each time, up to its cap", () => {
    const shortest = [0, 1, 2, 9].map((failures) => backoff(failures, CAP, () => 0));
    const longest = [0, 1, 2, 3, 4, 5, 99].map((failures) => backoff(failures, CAP, () => 1));
    assert.deepEqual(shortest, [250, 250, 250, 250]);
    assert.deepEqual(longest, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    assert.equal(backoff(99, CAP_NEVER_OPENED, () => 1), 300_000);
  });

  it("spreads a crowd over the whole time it was given", () => {
    assert.deepEqual([0, 0.5, 1].map((chance) => spread(20_250, () => chance)), [250, 10_250, 20_250]);
    assert.equal(spread(0, () => 1), 250);
    assert.equal(spread(Number.MAX_SAFE_INTEGER, () => 1), 300_000);
  });
});

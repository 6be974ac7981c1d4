"""The benchmarks run: next to nothing of each work, on Themis and what it is compared
with. What they find then means nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import results
from benchmarks.peers import PEERS, REFERENCE
from benchmarks.report import to_groups, to_markdown
from benchmarks.rig import Rig
from benchmarks.sizes import SIZES
from benchmarks.stage import staged
from benchmarks.summary import Spread, Summary
from benchmarks.works import WORKS

SIZE = SIZES["tiny"]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    with Rig(SIZE) as rig:
        runs = []
        for peer in (REFERENCE, "themis-daphne"):
            # All on one stage, where a real run sets one for each work.
            with staged(PEERS[peer], rig, SIZE) as stage:
                for work in WORKS.values():
                    figures = work.measure(stage)
                    runs.append(
                        {
                            "work": work.key,
                            "peer": peer,
                            "round": 1,
                            "figures": figures,
                            "shares": dict(stage.shares),
                            "expected": stage.expected,
                            "lost": stage.lost,
                            "extra": stage.extra,
                            "failed": stage.failed,
                        }
                    )
                    stage.close()
        yield results.describe(rig, "tiny", SIZE) | {"runs": runs}


@pytest.mark.once
@pytest.mark.timeout(180)
def test_every_work_has_figures_and_nothing_is_lost(found: dict[str, Any]) -> None:
    assert len(found["runs"]) == 2 * len(WORKS)
    for run in found["runs"]:
        assert run["figures"], run
        assert (run["lost"], run["extra"], run["failed"]) == (0, 0, 0), run
    assert found["runs"][-1]["expected"] > 0


@pytest.mark.once
@pytest.mark.timeout(180)
def test_a_page_is_made_of_them(found: dict[str, Any]) -> None:
    summary = Summary([found | {"source": "a.json"}])
    page = "\n".join(to_markdown(summary))
    for work in WORKS.values():
        assert f"### {work.title}" in page
        assert [*to_groups(summary, work)]
    assert found["versions"]["django"] in page


def test_a_ratio_is_formed_within_a_round_of_a_file() -> None:
    def found(**values: float) -> dict[str, Any]:
        runs = [
            {"work": "latency", "peer": peer, "round": 1, "figures": {"p50": value}}
            for peer, value in values.items()
        ]
        return {"runs": runs}

    ours = "themis-daphne"
    summary = Summary(
        [found(**{REFERENCE: 10, ours: 1}), found(**{REFERENCE: 100, ours: 20})]
    )
    cell = summary.cell("latency", ours, "p50")
    assert cell is not None
    assert cell.value == Spread(10.5, 1, 20)
    assert cell.ratio is not None
    assert (cell.ratio.low, cell.ratio.high) == (0.1, 0.2)

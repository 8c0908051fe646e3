"""A node that is killed, or stands still: what it had under way is done elsewhere, once."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.held import Held

AGAIN_WITHIN_S = 10.0
FROZEN_S = 20.0
KILLS = 5
BESIDE = 30


def compressing(http, count: int) -> dict[str, bytes]:
    """Submit small jobs; gives what each is of, by its id."""
    made = {}
    for n in range(count):
        content = b"beside %d " % n * 200
        answer = http.post("/v1/compress?format=gzip", content=content)
        assert answer.status_code == 202, answer.text
        made[answer.json()["id"]] = content
    return made


def check_done_once(http, jobs: dict[str, bytes]) -> None:
    for job_id, content in jobs.items():
        job = http.get(f"/v1/jobs/{job_id}?wait=30").json()
        assert job["status"] == "succeeded", job
        [item] = http.get(f"/v1/jobs/{job_id}/items").json()["items"]
        [result] = item["results"]
        assert gzip.decompress(http.get(result["href"]).content) == content
        told = http.get(f"/v1/jobs/{job_id}/events").text
        assert told.splitlines().count("event: item") == 1


@pytest.mark.timeout(600)
def test_what_a_killed_node_had_runs_again_within_ten_seconds(
    postgres: Server, s3: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    took: list[float] = []
    beside = 0
    with (
        Deployment.running(tmp_path, postgres, s3) as nodes,
        nodes.client() as http,
    ):
        for n in range(KILLS):
            held = Held(http, tmp_path, f"pipe{n}")
            victim = nodes.owner(held.began())
            others = compressing(http, BESIDE)
            killed_at = time.monotonic()
            nodes.kill(victim)
            survivor = nodes.owner(held.began())
            took.append(time.monotonic() - killed_at)
            assert survivor != victim
            held.let_go()
            item = held.done()
            assert (item["attempt"], held.ends()) == (2, 1), item
            check_done_once(http, others)
            beside += len(others)
            nodes.start(victim)
    tell(
        f"{KILLS} worker groups killed, run again after {min(took):.1f} to {max(took):.1f} s; "
        f"{KILLS + beside} items, each ended once"
    )
    assert max(took) <= AGAIN_WITHIN_S


@pytest.mark.timeout(180)
def test_a_node_that_stood_still_comes_back_as_a_ghost(
    postgres: Server, s3: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    with (
        Deployment.running(tmp_path, postgres, s3) as nodes,
        nodes.client() as http,
    ):
        held = Held(http, tmp_path)
        ghost = nodes.owner(held.began())
        others = compressing(http, BESIDE)
        nodes.freeze(ghost)
        frozen_at = time.monotonic()
        assert nodes.owner(held.began()) != ghost
        again_s = time.monotonic() - frozen_at
        held.let_go()  # both hear it, the ghost when it is there again
        before = held.done()
        check_done_once(http, others)
        time.sleep(max(0.0, FROZEN_S - (time.monotonic() - frozen_at)))
        nodes.thaw(ghost)
        nodes.nodes[ghost].logged("given_up_for_dead")
        # It takes part again: with the other one gone, it is who does this.
        [other] = set(nodes.workers) - {ghost}
        nodes.stop(other)
        check_done_once(http, compressing(http, BESIDE))
        [after] = held.items()
        assert after == before
        assert (after["attempt"], held.ends()) == (2, 1), after
        assert len(nodes.named() & nodes.objects()) == len(nodes.named())
    tell(f"{FROZEN_S:.0f} s still, run again after {again_s:.1f} s, one result, the ghost's void")

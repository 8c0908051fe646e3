"""Items that run for as long as a test wants: see `wait` of `tests/plugin`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx


class Held:
    """One item that runs until it is let go."""

    def __init__(self, http: httpx.Client, folder: Path, name: str = "pipe") -> None:
        """Submit it."""
        self._http = http
        self._pipe = folder / name
        os.mkfifo(self._pipe)
        os.mkfifo(f"{self._pipe}.began")
        step = {"op": "misbehave", "how": "wait", "pipe": str(self._pipe)}
        made = http.post(
            "/v1/jobs", data={"job": json.dumps({"steps": [step]})}, files={"file": b"held"}
        )
        assert made.status_code == 202, made.text
        self.job_id: str = made.json()["id"]

    def began(self) -> int:
        """Return once it has begun (again); gives the process that runs it."""
        return int(Path(f"{self._pipe}.began").read_text())

    def let_go(self) -> None:
        """Let whoever runs it now come to an end."""
        self._pipe.write_text("go on")

    def done(self) -> dict[str, Any]:
        """Wait for its job, and give its one item."""
        job = self._http.get(f"/v1/jobs/{self.job_id}?wait=30").json()
        assert job["status"] == "succeeded", job
        [item] = self.items()
        return item

    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._http.get(f"/v1/jobs/{self.job_id}/items").json()[
            "items"
        ]
        return found

    def ends(self) -> int:
        """Count how often its item has ended, as the job's events tell it."""
        told = self._http.get(f"/v1/jobs/{self.job_id}/events").text
        return told.splitlines().count("event: item")

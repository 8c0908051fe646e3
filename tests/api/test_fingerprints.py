"""What makes a request another one under the same Idempotency-Key."""

from __future__ import annotations

import hashlib
import json

from app.api.inputs import Labels
from app.api.making import fingerprint, labels_said
from app.api.schemas import JobView
from app.model.jobs import NewItem, Step
from app.model.marks import Marks

SAID = {
    "tag": "a",
    "metadata": {"a": 1},
    "webhook": {"url": "https://example.com/hook"},
    "store": {"put_url": "https://example.com/result"},
}


def test_every_label_makes_it_another_request() -> None:
    assert set(SAID) == set(Labels.model_fields)
    kinds = [Labels(), *(Labels.model_validate({name: said}) for name, said in SAID.items())]
    assert len({fingerprint([], [], labels) for labels in kinds}) == len(kinds)
    assert len({repr(labels_said(labels)) for labels in kinds}) == len(kinds)


def test_every_mark_is_shown() -> None:
    assert set(Marks.model_fields) <= set(JobView.model_fields)


def test_a_digest_is_that_of_earlier_versions() -> None:
    """A key holds for 24 hours, whatever is installed meanwhile."""
    labels = Labels.model_validate({name: SAID[name] for name in ("tag", "metadata")})
    item = [None, None, "https://example.com/1", {}, None, None, None]
    text = json.dumps([[["fetch", {"dedupe": True}]], [item], ["a", {"a": 1}]])
    digest = fingerprint([Step("fetch", {"dedupe": True})], [NewItem(url=item[2])], labels)
    assert digest == hashlib.sha256(text.encode()).hexdigest()

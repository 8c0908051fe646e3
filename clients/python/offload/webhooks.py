"""Webhooks, checked as Standard Webhooks has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from offload.errors import OffloadError

TOLERANCE_S = 300.0
_PREFIX = "whsec_"


class Forged(OffloadError):
    """A request that is not, or not any more, to be believed."""

    default_code = "client.forged"


def verify_webhook(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> dict[str, Any]:
    """Check a request that an Offload service has sent, and give its event.

    Args:
        secret: `whsec_…` as the job or the operator gave it; several while one is changed over.
        headers: of the request, in any case.
        body: as it came, before any parsing.
        tolerance_s: how far its time may be from now, so that nobody sends an old one again.
        now_s: the time, if not the clock's.

    Returns:
        The event: `type`, `timestamp` and `data`. Look whether you have seen its `webhook-id`: an
        event comes at least once.

    Raises:
        Forged: no signature fits, a header is missing, or it is too old or too new.
        ValueError: the secret is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        number, sent, signatures = (
            given[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as error:
        raise Forged(f"The header {error.args[0]} is missing.") from None
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 15):
        raise Forged("webhook-timestamp is no number of seconds.")
    if abs((time.time() if now_s is None else now_s) - int(sent)) > tolerance_s:
        raise Forged("It is too old, or from the future.")
    signed = f"{number}.{sent}.".encode() + body
    told = [one.encode() for one in signatures.split(" ")]
    fits = False
    for key in map(_key, [secret] if isinstance(secret, str) else secret):
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
        for one in told:
            # All are compared, each in constant time: how long it takes tells nothing.
            fits |= hmac.compare_digest(expected, one)
    if not fits:
        raise Forged("No signature fits.")
    try:
        event = json.loads(body)
    except ValueError:
        raise Forged("The body is no JSON.") from None
    if not isinstance(event, dict):
        raise Forged("The body is no event.")
    return event


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("A secret is `whsec_` and base64.") from None

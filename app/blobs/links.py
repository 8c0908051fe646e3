"""Signed links of S3 whose answers say what a file is called.

obstore signs a link to an object and nothing with it. What an answer is to say is a part of what
is signed (`response-content-disposition`), so its links are signed anew, as AWS Signature Version 4
has it for queries ("Authenticating Requests: Using Query Parameters", Amazon S3 API reference).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

SIGNATURE = "X-Amz-Signature"


def saying(link: str, keys: Mapping[str, str], said: Mapping[str, str]) -> str:
    """Give a link whose answer has these headers; the same link, if none of the keys has signed it.

    Args:
        link: signed with Signature Version 4, for GET, with no other header than the host.
        keys: secrets by the ids of their keys.
        said: headers by their names in lower case, such as `content-disposition`.
    """
    parts = urlsplit(link)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    key_id, *scope = asked.get("X-Amz-Credential", "").split("/")
    if key_id not in keys:
        return link
    del asked[SIGNATURE]
    asked |= {f"response-{name}": value for name, value in said.items()}
    query = "&".join(sorted(f"{_quoted(name)}={_quoted(value)}" for name, value in asked.items()))
    request = f"GET\n{parts.path}\n{query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{asked['X-Amz-Date']}\n{'/'.join(scope)}\n{digest}"
    key = f"AWS4{keys[key_id]}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return parts._replace(query=f"{query}&{SIGNATURE}={key.hex()}").geturl()


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")

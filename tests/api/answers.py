"""What the tests of this folder ask of answers."""

import http.client
import socket
import sys
from urllib.parse import urlsplit

import httpx

PROBLEM = "application/problem+json"
LEAKS = ("Traceback", 'File "', ".py", "site-packages", "/tmp/", sys.prefix)


def problem(response, status, code):
    """Give the problem that a request was answered with, if it is this one and a good one."""
    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM), (
        response.text
    )
    found = response.json()
    assert found["code"] == code, found
    assert (found["status"], found["type"]) == (status, f"urn:offload:error:{code}")
    assert found["title"]
    assert found["detail"]
    assert isinstance(found["retryable"], bool)
    assert not [leak for leak in LEAKS if leak in response.text]
    return found


def done(response, status="succeeded"):
    """Give the job that a request waited for."""
    assert response.status_code == 200, response.text
    job = response.json()
    assert (job["done"], job["status"]) == (True, status), job
    return job


def running(http, job, items=1):
    """Give a job as it is once so many of its items are known to run."""
    now = http.get(f"/v1/jobs/{job['id']}")
    while now.json()["counts"]["running"] < items:
        assert not now.json()["done"], now.json()
        headers = {"If-None-Match": now.headers["ETag"]}
        later = http.get(f"/v1/jobs/{job['id']}?wait=20", headers=headers)
        now = later if later.content else now
    return now.json()


def results(http, job):
    """Give name and content of every result, in the order of the items."""
    items = http.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    files = [file for item in items for file in item["results"]]
    return [(file["name"], http.get(file["href"]).content) for file in files]


def errors(job):
    """Give the code of each item's error, None for an item that went well."""
    return [item["error"] and item["error"]["code"] for item in job["items"]]


def connect(url):
    """Open a connection on which a test can misbehave."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def answer_on(connection):
    """Read one answer from a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def talk(url, data):
    """Send these bytes on a connection of their own, and give the answer."""
    with connect(url) as connection:
        connection.sendall(data)
        return answer_on(connection)


def head(method, path, *headers):
    """Give the bytes of a request up to its body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def eventually(http, condition):
    """Return once something is so that follows a request sooner or later."""
    for _ in range(3000):
        if condition():
            return
        http.get("/livez")
    raise AssertionError("it never came to be")

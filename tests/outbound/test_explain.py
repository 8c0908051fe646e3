"""`offload check-url`: what the guard thinks, why, and an exit code to script with."""

import socket

import pytest
from typer.testing import CliRunner

from app.cli import cli

NAMES = {
    "good.test": ["1.1.1.1", "2606:4700::1111"],
    "mixed.test": ["1.1.1.1", "10.0.0.8"],
    "inside.test": ["10.20.0.1"],
    "mapped.test": ["::ffff:10.20.0.1"],
}


@pytest.fixture
def check(monkeypatch):
    def look_up(host, *_, **__):
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(None, None, None, "", (address, 0)) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def check(url, **env):
        result = CliRunner().invoke(cli, ["check-url", url], env=env)
        return result.exit_code, result.output

    return check


def test_a_public_url_is_allowed_with_each_of_its_addresses(check):
    code, said = check("http://GOOD.test:8080/x#y")
    assert code == 0
    assert "url      http://good.test:8080/x" in said
    assert "address  1.1.1.1          allowed: public" in said
    assert "address  2606:4700::1111  allowed: public" in said
    assert said.endswith("allowed\n")


def test_one_refused_address_refuses_the_url_and_names_the_rule(check):
    code, said = check("https://mixed.test/")
    assert code == 1
    assert "1.1.1.1   allowed: public" in said
    assert "10.0.0.8  refused: private use (RFC 1918)" in said
    assert "refused: every address of a host must be allowed" in said


@pytest.mark.parametrize("url", ["http://inside.test:9999/", "http://mapped.test/"])
def test_a_network_that_the_operator_opened_is_named(check, url):
    assert check(url)[0] == 1
    code, said = check(url, OFFLOAD_FETCH_ALLOW_NETWORKS="10.20.0.0/16")
    assert code == 0
    assert "in 10.20.0.0/16, which OFFLOAD_FETCH_ALLOW_NETWORKS opens" in said


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "loopback (RFC 1122)"),
        ("http://[::1]/", "outside 2000::/3 (RFC 4291)"),
        ("http://[::ffff:169.254.169.254]/", "link-local (RFC 3927)"),
        ("http://2130706433/", "IPv4"),
        ("http://good.test:22/", "port"),
        ("ftp://good.test/", "Only http and https"),
        ("http://user@good.test/", "user name"),
        ("http://nowhere.test/", "does not resolve"),
        ("good.test", "not absolute"),
    ],
)
def test_every_refusal_says_why(check, url, reason):
    code, said = check(url)
    assert code == 1
    assert reason in said


def test_a_public_address_is_its_own_answer(check):
    code, said = check("http://1.1.1.1/")
    assert (code, "1.1.1.1  allowed: public" in said) == (0, True)


def test_a_proxy_is_named_without_its_credentials_and_changes_no_verdict(check):
    for url in ("http://good.test/", "http://mixed.test/", "http://127.0.0.1/"):
        plain_code, plain = check(url)
        code, said = check(url, OFFLOAD_FETCH_PROXY_URL="http://user:s3cret@10.0.0.9:3128")
        named = "proxy    http://10.0.0.9:3128\n"
        assert (code, said.replace(named, "")) == (plain_code, plain)
        assert (named in said) == (url != "http://127.0.0.1/")


def test_a_proxy_that_makes_no_sense_is_an_error_that_does_not_repeat_it(check):
    code, said = check(
        "http://good.test/", OFFLOAD_FETCH_PROXY_URL="https://user:s3cret@proxy.test"
    )
    assert code == 2
    assert (
        "OFFLOAD_FETCH_PROXY_URL: a proxy is http://host:port, with user:password@ before" in said
    )
    assert "s3cret" not in said

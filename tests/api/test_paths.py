"""Names of uploads with folders: stripped as a rule, kept where that is asked and safe."""

import shutil
import subprocess
import zipfile
from io import BytesIO

import pytest

from tests.api.answers import done, problem, results

FORM = {"content-type": "multipart/form-data; boundary=b"}


def form(*parts):
    """Give a form: names in quotes as they are on the wire, with the content of each file."""
    made = b""
    for name, content in parts:
        made += b'--b\r\nContent-Disposition: form-data; name="f"; filename="' + name
        made += b'"\r\n\r\n' + content + b"\r\n"
    return made + b"--b--\r\n"


def field(name, value):
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def stored_name(http, name, **query):
    answer = http.post("/v1/files", params=query, content=form((name, b"x")), headers=FORM)
    assert answer.status_code == 201, answer.text
    return answer.json()["name"]


def test_a_zip_with_folders_can_be_made_from_an_upload(http):
    body = form((b"a/b.txt", b"1"), (b"a/c/d.txt", b"2"), (b"a/b.txt", b"3"), (b"e.txt", b"4"))
    job = done(http.post("/v1/archive?paths=keep&wait=20", content=body, headers=FORM))
    *_, (_, packed) = results(http, job)
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a/b.txt": b"1",
            "a/c/d.txt": b"2",
            "a/b (2).txt": b"3",  # a second file of one name lands, too
            "e.txt": b"4",
        }


def test_curl_and_unzip_see_the_folders(service, tmp_path):
    curl, unzip = shutil.which("curl"), shutil.which("unzip")
    if not curl or not unzip:
        pytest.skip("curl and unzip are needed")
    (tmp_path / "one.txt").write_text("one")
    packed = tmp_path / "packed.zip"
    asked = "paths=keep&wait=20&download=true"
    said = ["-F", 'file=@one.txt;filename=a/b/"one".txt', "-F", r"file=@one.txt;filename=a\two.txt"]
    url = f"{service.url}/v1/archive?{asked}"
    subprocess.run([curl, "-sSf", *said, "-o", packed, url], cwd=tmp_path, check=True)
    listed = subprocess.run([unzip, "-Z1", packed], capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == ["a/b/_one_.txt", "a/two.txt"]


@pytest.mark.parametrize("order", ["before", "behind"])
def test_a_form_may_ask_for_it_anywhere(http, order):
    file, asks = form((b"a/b.txt", b"1"))[: -len("--b--\r\n")], field("paths", "keep")
    body = (asks + file if order == "before" else file + asks) + b"--b--\r\n"
    job = done(http.post("/v1/compress?wait=20", content=body, headers=FORM))
    assert [name for name, _ in results(http, job)] == ["a/b.txt.gz"]
    again = http.post("/v1/compress?paths=keep", content=body, headers=FORM)
    assert again.status_code == 202
    problem(http.post("/v1/compress?paths=strip", content=body, headers=FORM), 422, "input.invalid")
    wrong = field("paths", "all") + file + b"--b--\r\n"
    problem(http.post("/v1/compress", content=wrong, headers=FORM), 422, "input.invalid")


def test_a_general_job_keeps_them_too(http):
    job = '{"steps": [{"op": "compress"}]}'
    body = field("job", job) + form((b"a/b.txt", b"1"))
    made = done(http.post("/v1/jobs?paths=keep&wait=20", content=body, headers=FORM))
    assert [name for name, _ in results(http, made)] == ["a/b.txt.gz"]
    made = done(http.post("/v1/jobs?wait=20", content=body, headers=FORM))
    assert [name for name, _ in results(http, made)] == ["b.txt.gz"]


@pytest.mark.parametrize("path", ["a/b/c.txt", "a%2Fb/c.txt", "a%5Cb%5Cc.txt"])
def test_a_name_in_the_path_or_the_query(http, path):
    kept = http.put(f"/v1/files/{path}?paths=keep", content=b"x")
    assert kept.json()["name"] == "a/b/c.txt"
    named = http.post(f"/v1/files?paths=keep&filename={path}", content=b"x")
    assert named.json()["name"] == "a/b/c.txt"
    named = http.post(f"/v1/files?filename={path}", content=b"x")
    assert named.json()["name"] == "c.txt"


@pytest.mark.parametrize("query", ["", "?paths=strip"])
def test_a_path_with_folders_is_a_name_only_where_they_are_kept(http, query):
    problem(http.put(f"/v1/files/a/b.txt{query}", content=b"x"), 404, "input.no_such_path")
    problem(http.post(f"/v1/compress/a/b.txt{query}", content=b"x"), 404, "input.no_such_path")
    problem(http.get(f"/v1/files/a/b.txt{query}"), 404, "input.no_such_path")
    assert http.put(f"/v1/files/a%5Cb.txt{query}", content=b"x").json()["name"] == "b.txt"


def test_a_door_takes_a_path_as_a_name(http):
    job = done(http.put("/v1/compress/a/b.txt?paths=keep&wait=20", content=b"x"))
    assert [name for name, _ in results(http, job)] == ["a/b.txt.gz"]


@pytest.mark.parametrize(
    ("sent", "kept", "stripped"),
    [
        (b"a/b.txt", "a/b.txt", "b.txt"),
        (rb"a\b.txt", "a/b.txt", "b.txt"),  # as browsers on Windows
        (rb"a\\b.txt", "a/b.txt", "b.txt"),  # as old curls escape it
        (b"./a//b.txt", "a/b.txt", "b.txt"),
        (b"a/con.txt", "a/_con.txt", "con.txt"),
        (b"a/b:c?.txt", "a/b_c_.txt", "b:c?.txt"),
        (b"a/tab\there.txt", "a/tab_here.txt", "tabhere.txt"),
        (b"a. /b.txt", "a_/b.txt", "b.txt"),
        ("ä/ö.txt".encode(), "ä/ö.txt", "ö.txt"),
        (b"a/%22b%22.txt", "a/_b_.txt", '"b".txt'),  # as browsers and new curls escape quotes
        (rb"a/\"b\".txt", "a/_b_.txt", '"b".txt'),  # as old curls do
        (b"a/%41%2F.txt", "a/%41%2F.txt", "%41%2F.txt"),  # nobody escapes these
        (b"/", None, "upload"),
        (b"./", "upload", "upload"),
        (b"../a.txt", None, "a.txt"),
        (b"a/../b.txt", None, "b.txt"),
        (rb"a\..\b.txt", None, "b.txt"),
        (b"/etc/passwd", None, "passwd"),
        (b"C:/a.txt", None, "a.txt"),
        (b"a/" * 65 + b"b.txt", None, "b.txt"),
        (b"a" * 200 + b"/" + b"b" * 1000 + b".txt", None, "b" * 251 + ".txt"),
        (b"a/" + b"b" * 300 + b".txt", "a/" + "b" * 251 + ".txt", "b" * 251 + ".txt"),
    ],
)
def test_names_are_kept_as_an_archive_would_or_refused(http, sent, kept, stripped):
    assert stored_name(http, sent) == stripped
    if kept is not None:
        assert stored_name(http, sent, paths="keep") == kept
        return
    answer = http.post("/v1/files?paths=keep", content=form((sent, b"x")), headers=FORM)
    assert "cannot be kept" in problem(answer, 422, "input.invalid")["detail"]


def test_what_is_in_quotes_is_no_parameter(http):
    name = rb"""q\"; filename*=UTF-8''evil.txt"""
    assert stored_name(http, name) == """q"; filename_=UTF-8''evil.txt""".replace("_", "*")


def test_a_file_with_folders_is_downloaded_under_its_last_part(http):
    file = http.put("/v1/files/a/b.txt?paths=keep", content=b"x").json()
    answer = http.get(file["href"])
    assert 'filename="b.txt"' in answer.headers["Content-Disposition"]

"""Files of one's own: taken names, full disks, large ones, odd names."""

import gzip
import json
import subprocess
import sys

import offload
import pytest
from offload.multipart import Form
from offload.saving import Saving

from tests.client.conftest import KEY

# -- files of one's own ----------------------------------------------------------------------------


def test_a_name_that_is_taken(client, tmp_path):
    result = client.compress(b"text").result()
    target = tmp_path / "a.gz"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        result.save(target, overwrite=False)
    assert target.read_bytes() == b"mine"
    assert gzip.decompress(result.save(target).read_bytes()) == b"text"


def test_a_name_that_is_taken_meanwhile_stays(tmp_path):
    saving = Saving(tmp_path / "a", overwrite=False)
    saving.write(b"ours")
    (tmp_path / "a").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        saving.finish()
    saving.drop()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]


def test_a_full_disk_leaves_nothing(client, tmp_path, large):
    """RLIMIT_FSIZE makes writing fail as a full disk does, without root."""
    program = (
        "import resource, signal, sys, offload\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "with offload.Client(sys.argv[1]) as client:\n"
        "    try: client.files.get(sys.argv[2]).save(sys.argv[3])\n"
        "    except OSError as error: print(type(error).__name__, error.errno)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, client._transport.server, large.id, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "OSError 27\n"
    assert list(tmp_path.iterdir()) == []


def test_large_files_at_flat_memory(keyed, tmp_path):
    """96 MiB there and back in a process of its own, with no more memory than a small one takes."""
    size = 96 << 20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    program = (
        "import sys, offload\n"
        "from tests.memory import peak_kib\n"
        "with offload.Client(sys.argv[1], key=sys.argv[2]) as client:\n"
        "    client.files.upload(b'x').read()\n"
        "    before = peak_kib()\n"
        "    stored = client.files.upload(sys.argv[3])\n"
        "    stored.save(sys.argv[4])\n"
        "    stored.delete()\n"
        "    print(peak_kib() - before)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, keyed.url, KEY, tmp_path / "large", tmp_path / "back"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "back").stat().st_size == size
    assert int(said.stdout) < 16 << 10, said.stdout


# -- documents that are sent -----------------------------------------------------------------------


def test_names_that_no_form_should_choke_on(client):
    names = ['a "b".txt', "ä\n.txt", "x" * 200 + ".txt", "%22.txt", "back\\slash.txt"]
    results = [client.inspect(offload.Upload(b"text", name)).wait() for name in names]
    told = [next(iter(job.items())).name for job in results]
    assert told[0] == names[0]
    assert told[2] == names[2]
    assert all("\n" not in name and "/" not in name for name in told)


def test_a_form_says_how_long_it_is():
    from offload.inputs import Reading, Upload

    form = Form(("job", json.dumps({})), [Reading(Upload(b"abc", "a")), Reading(Upload(b"", "b"))])
    sent = 0
    for opening, file in form.parts():
        sent += len(opening) + (len(file.read(9, 0)) if file else 0)
    assert form.size_bytes == sent

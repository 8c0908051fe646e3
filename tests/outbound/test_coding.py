"""Promise 22: what is cut or damaged is never delivered as whole, wherever the cut is."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import FetchEncodingError, FetchError, FetchTruncated
from app.outbound.coding import STEP_BYTES, decoding_of

BODY = bytes(range(256)) * 3


def bare(body):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


STREAMS = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "two members": ("x-gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])),
    "zlib": ("deflate", zlib.compress(BODY)),
    "bare deflate": ("deflate", bare(BODY)),
}


def decode(coding, *pieces):
    decoder = decoding_of(coding)
    body = b"".join(out for piece in pieces for out in decoder.feed(piece))
    decoder.finish()
    return body


@pytest.mark.parametrize("kind", STREAMS)
def test_a_whole_stream_decodes_however_it_is_cut_into_pieces(kind):
    coding, stream = STREAMS[kind]
    for size in (1, 2, 3, 7, 64, len(stream)):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert decode(coding, *pieces) == BODY


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_that_ends_anywhere_before_its_end_is_truncated(kind):
    coding, stream = STREAMS[kind]
    member = len(gzip.compress(BODY[:99])) if kind == "two members" else -1
    for end in range(len(stream)):
        if end != member:
            with pytest.raises(FetchTruncated):
                decode(coding, stream[:end])


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("tail", [b"\x00", b"x", b"\x1f", b"\x1f\x8b", b"garbage"])
@pytest.mark.parametrize("apart", [False, True])
def test_bytes_after_the_end_are_an_error(kind, tail, apart):
    coding, stream = STREAMS[kind]
    begins_a_member = "gzip" in coding and b"\x1f\x8b".startswith(tail)
    with pytest.raises(FetchTruncated if begins_a_member else FetchEncodingError):
        decode(coding, *([stream, tail] if apart else [stream + tail]))


@settings(deadline=None)
@given(st.sampled_from(["gzip", "deflate"]), st.binary())
def test_rubbish_never_decodes_and_never_escapes_as_another_error(coding, data):
    try:
        decode(coding, data)
    except FetchError:
        return
    # A few bytes may happen to be a whole bare deflate stream.
    assert coding == "deflate"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_no_step_yields_more_than_its_bound(coding):
    compress = gzip.compress if coding == "gzip" else zlib.compress
    decoder = decoding_of(coding)
    sizes = [len(piece) for piece in decoder.feed(compress(bytes(10_000_000)))]
    assert max(sizes) <= STEP_BYTES
    assert sum(sizes) == 10_000_000
    decoder.finish()


@pytest.mark.parametrize("header", ["", " ", "identity", "Identity, identity", ","])
def test_no_coding_needs_no_decoder(header):
    assert decoding_of(header) is None


@pytest.mark.parametrize("header", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "x"])
def test_a_coding_that_is_not_read_here_is_an_error(header):
    with pytest.raises(FetchEncodingError):
        decoding_of(header)


@pytest.mark.parametrize("header", ["GZIP", " gzip ", "identity, gzip", "gzip,"])
def test_a_coding_is_recognised_in_any_writing(header):
    assert decode(header, gzip.compress(BODY)) == BODY

"""How results are named in a bucket."""

import pytest

from app.ops.object_keys import DEFAULT, checked, checked_key, rendered, tells_items_apart

NAMED = {
    DEFAULT: "job_1/7/sub/a.tar.gz",
    "{job}-{index:03}-{result:02}{ext}": "job_1-007-04.tar.gz",
    "out/{stem}.copy{ext}": "out/a.copy.tar.gz",
    "{name}": "a.tar.gz",
    "é {path}": "é sub/a.tar.gz",
}


@pytest.mark.parametrize("template", NAMED)
def test_a_template_is_filled_in(template):
    made = rendered(checked(template), job="job_1", index=7, result=4, name="sub/a.tar.gz")
    assert made == checked_key(made) == NAMED[template]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("../../etc/passwd", "x/etc/passwd"),
        ("/abs", "x/abs"),
        ("a\\..\\b", "x/a/b"),
        ("..", "x/file"),
        ("", "x/file"),
        ("a\0b\n", "x/a_b_"),
        ("{job}", "x/{job}"),  # what a name says is not filled in again
    ],
)
def test_a_name_leads_nowhere_else(name, made):
    assert rendered("x/{path}", job="j", index=0, result=0, name=name) == made
    assert checked_key(made)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("", "1 to 500"),
        ("x" * 501, "1 to 500"),
        ("{file}", r"must not have \{file\}; the fields are: \{job\}, \{index\}"),
        ("{name:03}", "fill up"),
        ("{index:3}", "braces"),
        ("{name", "braces"),
        ("{{name}}", "braces"),
        ("../{name}", "a name that an object may have"),
        ("{job}/../{name}", "a name that an object may have"),
        ("/{name}", "a name that an object may have"),
        ("{name}/", "a name that an object may have"),
        ("a\0{name}", "a name that an object may have"),
    ],
)
def test_a_template_that_names_no_object_is_refused(template, said):
    with pytest.raises(ValueError, match=said):
        checked(template)


def test_what_tells_items_apart():
    assert not tells_items_apart("{job}/{result}{ext}")
    assert tells_items_apart("{index}")
    assert tells_items_apart(DEFAULT)

import pytest

from app.ops.registry import load_offered, load_operations

DOUBLE = """
from app.ops.base import Operation, Output, Params, Result

class DoubleParams(Params):
    pass

def double(work, params):
    target = work.folder / "twice"
    target.write_bytes(work.source.path.read_bytes() * 2)
    return Result((Output(target, work.source.name, "text/plain"),))

OPERATION = Operation("NAME", "Double it.", DoubleParams, "process", ("*/*",), double)
"""


@pytest.fixture(autouse=True)
def fresh():
    load_operations.cache_clear()
    load_offered.cache_clear()
    yield
    load_operations.cache_clear()
    load_offered.cache_clear()


def test_operations_of_this_package_are_found_by_looking():
    operations = load_operations()
    assert {"compress", "image"} <= set(operations)
    assert set(load_offered()) == {"fetch", *operations}
    assert all(name == operation.name for name, operation in operations.items())


def test_what_was_found_cannot_be_changed():
    with pytest.raises(TypeError):
        load_operations()["other"] = load_operations()["compress"]


def test_an_installed_package_adds_an_operation(install_plugin):
    install_plugin(
        "offload_double", DOUBLE.replace("NAME", "double"), {"double": "offload_double:OPERATION"}
    )
    assert load_operations()["double"].summary == "Double it."


def test_two_operations_of_one_name_are_refused_with_both_places(install_plugin):
    install_plugin(
        "offload_rival", DOUBLE.replace("NAME", "compress"), {"rival": "offload_rival:OPERATION"}
    )
    with pytest.raises(ValueError, match=r"app\.ops\.compress.*offload_rival:OPERATION"):
        load_operations()


def test_fetching_is_no_operation_and_its_name_is_taken(install_plugin):
    install_plugin(
        "offload_curl", DOUBLE.replace("NAME", "fetch"), {"curl": "offload_curl:OPERATION"}
    )
    with pytest.raises(ValueError, match=r"app\.ops\.fetch.*offload_curl:OPERATION"):
        load_operations()


def test_an_entry_point_that_is_no_operation_is_refused(install_plugin):
    install_plugin("offload_wrong", "OPERATION = 3\n", {"wrong": "offload_wrong:OPERATION"})
    with pytest.raises(TypeError, match="offload_wrong:OPERATION"):
        load_operations()

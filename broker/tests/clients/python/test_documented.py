"""The table "Rows and their process tests" of docs/compatibility.md names these tests, all of them."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[3] / "docs" / "compatibility.md"
FILES = [*sorted((HERE / "conformance").glob("test_*.py")), HERE / "bad_input.py", HERE / "full_disk.py"]

ROWS = [
    "negotiation", "escaping", "body", "heart-beat", "destinations", "SEND headers", "RECEIPT of SEND",
    "RECEIPT of COMMIT, ACK, NACK", "RECEIPT of SUBSCRIBE", "RECEIPT of DISCONNECT", "MESSAGE headers", "SUBSCRIBE",
    "ACK", "auto", "NACK", "redelivery", "transactions", "ERROR", "login", "limits", "failover", "bad input", "full disk",
]


@pytest.fixture(scope="module")
def table():
    """Row and names of its tests."""
    text = PAGE.read_text().split("## Rows and their process tests")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    rows = [re.match(r"\| (.*?) \| (.*) \|$", line).groups() for line in lines]
    return {row: {f"test_{name}" for name in re.findall(r"`(\w+)`", names)} for row, names in rows}


def names_of_all():
    """Names of all test functions."""
    trees = [ast.parse(file.read_text()) for file in FILES]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_is_there_and_has_tests(table):
    assert list(table) == ROWS
    assert all(table.values())


def test_every_test_is_named_and_every_name_is_a_test(table):
    assert set().union(*table.values()) == names_of_all()

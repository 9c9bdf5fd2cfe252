"""Every command and option that a message of the program names exists."""

import ast
import re
from pathlib import Path

import pytest
from test_docs import demand_known

import voyage_jobs

FILES = sorted(Path(voyage_jobs.__file__).parent.rglob("*.py"))
CALL = re.compile(r"`voyage-jobs (\w[^`]*)`")


def strings(tree):
    """Every string of a module as it may be shown: what is filled in is one word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named(text):
    """The commands in a text, each as words; a line that is broken is one."""
    return [call.split() for call in CALL.findall(" ".join(text.split()))]


def test_what_is_looked_for_is_found():
    source = 'hint = f"Bring it back, or `voyage-jobs confirm-deletes {name} --yes`."'
    assert next(named(text) for text in strings(ast.parse(source))) == [["confirm-deletes", "X", "--yes"]]
    with pytest.raises(AssertionError):
        demand_known(["confirm", "docs"], "voyage-jobs confirm docs")
    with pytest.raises(AssertionError):
        demand_known(["retry", "--anew"], "voyage-jobs retry --anew")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FILES[0].parent)))
def test_commands_in_messages_exist(file):
    for text in strings(ast.parse(file.read_text())):
        for words in named(text):
            demand_known(words, text)

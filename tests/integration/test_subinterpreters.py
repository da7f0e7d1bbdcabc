"""A subinterpreter that imports us gets an ImportError that says what to do, and nothing hangs."""

from __future__ import annotations

import pytest
from support.process import PythonProcess

# The module's name, and how its interpreters are made and run, are not the same in all Pythons.
IN_SUBINTERPRETER = """\
import sys
module, before = sys.argv[1:]
code = (
    "try:\\n"
    f"    import {module}\\n"
    "except ImportError as error:\\n"
    "    print(error, flush=True)\\n"
    "else:\\n"
    "    print('imported', flush=True)\\n"
)
if before:
    __import__(module)
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
if sys.version_info >= (3, 13):
    made = interpreters.create(KIND)
    interpreters.exec(made, code)
else:
    made = interpreters.create(isolated=(KIND == "isolated"))
    interpreters.run_string(made, code)
interpreters.destroy(made)
print("end", flush=True)
"""


@pytest.mark.parametrize("before", ["", "loaded before"])
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("module", ["rendezvous._core", "rendezvous.aio._native"])
def test_a_subinterpreter_is_told_to_import_in_the_main_one(
    module: str, kind: str, before: str
) -> None:
    """Whether or not the main interpreter has loaded the extension."""
    code = IN_SUBINTERPRETER.replace("KIND", repr(kind))
    with PythonProcess(code, module, before) as process:
        line = process.line()
        assert "subinterpreter" in line, line
        assert line != "imported"
        assert process.line() == "end"

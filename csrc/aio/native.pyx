# cython: language_level=3, binding=True, auto_pickle=False, autotestdict=False
# distutils: language=c++
"""asyncio's client of a native server: its connections, and the operations of its store.

What the protocol means is the core's (csrc/client), which this drives: Connection is one of them as an
asyncio protocol, TCPStore has the operations, and rendezvous.aio._line dials. Everything runs on the
thread of the event loop, and nothing blocks.
"""

cdef extern from "Python.h":
    ctypedef struct PyInterpreterState:
        pass
    PyInterpreterState* PyInterpreterState_Get()
    PyInterpreterState* PyInterpreterState_Main()

# As _core, whose errors and locks this has.
if PyInterpreterState_Get() != PyInterpreterState_Main():
    raise ImportError(
        "rendezvous cannot be imported in a subinterpreter: its threads, signals and errors belong to "
        "the main interpreter; import it there"
    )

import asyncio
import os
import threading
from collections import deque

from rendezvous import errors as _errors
from rendezvous._base.arguments import bytes_of, bytes_of_value, seconds, version_number, whole_number
from rendezvous._base.arguments import list_of, pairs_of

_running_loop = asyncio._get_running_loop

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_SetDestructor, PyCapsule_SetName
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from cython.operator cimport dereference
from libcpp.utility cimport move

from rdzv cimport *

include "failures.pxi"
include "connection.pxi"
include "rules.pxi"
include "operations.pxi"
include "store.pxi"
include "runs.pxi"

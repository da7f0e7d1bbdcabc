# The core's errors as the exceptions of rendezvous._base.errors.

_classes = dict(vars(_errors))


cdef object message_of(const string& text):
    return PyUnicode_DecodeUTF8(text.data(), text.size(), "backslashreplace")


cdef object key_of(const string& key):
    return PyUnicode_DecodeUTF8(key.data(), key.size(), "surrogateescape")


cdef list keys_of(const vector[string]& keys):
    cdef size_t i
    return [key_of(keys[i]) for i in range(keys.size())]


cdef object exception_of(const Failure& failure):
    cdef size_t i
    error = _classes[failure.class_name.decode()](message_of(failure.message))
    if not (failure.missing.keys.empty() and failure.missing.ranks.empty()):
        error.keys = keys_of(failure.missing.keys)
        error.ranks = [failure.missing.ranks[i] for i in range(failure.missing.ranks.size())]
    return error


# While a C++ exception is being handled.
cdef int raise_failure() except -1:
    raise exception_of(current_failure())

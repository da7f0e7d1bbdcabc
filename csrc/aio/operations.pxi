# The arguments of operations as the core takes them, and its results as Python has them.

cdef extern from "client/native_operations.h" namespace "rdzv::native_operations":
    NativeOperation op_ping "rdzv::native_operations::ping"(Duration) except +raise_failure
    NativeOperation op_set "rdzv::native_operations::set"(
        string_view, string_view, Duration, Duration) except +raise_failure
    NativeOperation op_read "rdzv::native_operations::read"(
        string_view, Duration) except +raise_failure
    NativeOperation op_compare_exchange "rdzv::native_operations::compare_exchange"(
        string_view, string_view, string_view, Duration) except +raise_failure
    NativeOperation op_add "rdzv::native_operations::add"(
        string_view, int64_t, Duration) except +raise_failure
    NativeOperation op_check "rdzv::native_operations::check"(
        const vector[string_view]&, Duration) except +raise_failure
    NativeOperation op_wait "rdzv::native_operations::wait"(
        const vector[string_view]&, Duration) except +raise_failure
    NativeOperation op_delete_key "rdzv::native_operations::delete_key"(
        string_view, Duration) except +raise_failure
    NativeOperation op_num_keys "rdzv::native_operations::num_keys"(
        Duration) except +raise_failure
    NativeOperation op_list_keys "rdzv::native_operations::list_keys"(
        string_view, Duration) except +raise_failure
    NativeOperation op_append "rdzv::native_operations::append"(
        string_view, string_view, Duration) except +raise_failure
    NativeOperation op_multi_read "rdzv::native_operations::multi_read"(
        const vector[string_view]&, Duration) except +raise_failure
    NativeOperation op_multi_set "rdzv::native_operations::multi_set"(
        const vector[string_view]&, Duration) except +raise_failure
    NativeOperation op_queue_push "rdzv::native_operations::queue_push"(
        string_view, string_view, Duration) except +raise_failure
    NativeOperation op_queue_pop "rdzv::native_operations::queue_pop"(
        string_view, cbool, Duration) except +raise_failure
    NativeOperation op_queue_len "rdzv::native_operations::queue_len"(
        string_view, Duration) except +raise_failure
    NativeOperation op_barrier "rdzv::native_operations::barrier"(
        string_view, const Seat&, uint64_t, Duration) except +raise_failure
    NativeOperation op_exchange "rdzv::native_operations::exchange"(
        string_view, int64_t, int64_t, string_view, Duration) except +raise_failure
    NativeOperation op_try_get "rdzv::native_operations::try_get"(
        string_view, Duration) except +raise_failure
    NativeOperation op_watch "rdzv::native_operations::watch"(
        string_view, uint64_t, Duration) except +raise_failure
    NativeOperation op_watch_prefix "rdzv::native_operations::watch_prefix"(
        string_view, uint64_t, string_view, Duration) except +raise_failure
    NativeOperation op_set_if_version "rdzv::native_operations::set_if_version"(
        string_view, string_view, uint64_t, Duration) except +raise_failure
    NativeOperation op_delete_prefix "rdzv::native_operations::delete_prefix"(
        string_view, Duration) except +raise_failure

# How an operation's result is shown.
cdef enum Shown:
    AS_IT_IS
    AS_COMPARE_SET
    AS_VALUE


# Of what the object, or what is put in its place into `kept`, holds.
cdef string_view view_of(object kept) except *:
    cdef Py_ssize_t size = 0
    cdef const char* data
    if isinstance(kept, bytes):
        return string_view(PyBytes_AS_STRING(kept), PyBytes_GET_SIZE(kept))
    data = PyUnicode_AsUTF8AndSize(kept, &size)
    return string_view(data, size)


# What view_of() takes; a str as it is, where it has a UTF-8 form.
cdef object key_kept(object key):
    if isinstance(key, bytes):
        return key
    if isinstance(key, str) and key.isascii():
        return key
    return bytes_of(key)


cdef object value_kept(object value):
    return value if isinstance(value, bytes) else bytes_of_value(value)


cdef object bytes_from(string_view view):
    return PyBytes_FromStringAndSize(view.data(), view.size())


cdef object versioned_value(const Versioned& versioned):
    return None if versioned.version == 0 else bytes_from(versioned.value.view())


cdef object exchanged(const Exchange& exchange, Flight flight, int shown):
    if exchange.swapped:
        value = flight.kept_more
    elif exchange.exists or shown != AS_COMPARE_SET:
        value = bytes_from(exchange.value.view())
    else:
        value = flight.kept_value
    return value if shown == AS_COMPARE_SET else (value, bool(exchange.swapped))


# By the place of its type in NativeResult.
cdef object shown(const NativeResult& result, Flight flight, int how):
    cdef int kind = kind_of(result)
    if kind == 0:
        return None
    if kind == 1:
        return bool(bool_in(result))
    if kind == 2:
        return int_in(result)
    if kind == 3:
        return bytes_from(bytes_in(result).view())
    if kind == 4:
        return exchanged(exchange_in(result), flight, how)
    if kind == 5:
        value = versioned_value(versioned_in(result))
        return value if how == AS_VALUE else (value, versioned_in(result).version)
    if kind == 6:
        return (version_set_in(result).version, bool(version_set_in(result).swapped))
    if kind == 7:
        return keys_of(keys_in(result))
    if kind == 8:
        return values_of(values_in(result))
    if kind == 17:
        return changes_of(changes_in(result))
    return run_shown(result, kind)


cdef object changes_of(const PrefixChanges& changes):
    cdef size_t i
    cdef list items = []
    for i in range(changes.keys.size()):
        value = None if changes.versions[i] == 0 else bytes_from(changes.values[i].view())
        items.append((key_of(changes.keys[i]), changes.versions[i], value))
    return changes.position, bool(changes.begins), <bytes>changes.cursor, items


cdef list values_of(const vector[TakenBytes]& values):
    cdef size_t i
    cdef list found = []
    for i in range(values.size()):
        found.append(bytes_from(values[i].view()))
    return found


# Those with values, made of what their flight keeps.

cdef NativeOperation make_set(Flight flight) except *:
    return op_set(
        view_of(flight.kept_key), view_of(flight.kept_value), flight.ttl, flight.time)


cdef NativeOperation make_set_if_version(Flight flight) except *:
    return op_set_if_version(
        view_of(flight.kept_key), view_of(flight.kept_value), flight.version, flight.time)


cdef NativeOperation make_compare_exchange(Flight flight) except *:
    return op_compare_exchange(
        view_of(flight.kept_key), view_of(flight.kept_value), view_of(flight.kept_more),
        flight.time)


cdef NativeOperation make_append(Flight flight) except *:
    return op_append(view_of(flight.kept_key), view_of(flight.kept_value), flight.time)


cdef NativeOperation make_multi_set(Flight flight) except *:
    return op_multi_set(flight.keys, flight.time)


cdef NativeOperation make_queue_push(Flight flight) except *:
    return op_queue_push(view_of(flight.kept_key), view_of(flight.kept_value), flight.time)


cdef NativeOperation make_exchange(Flight flight) except *:
    return op_exchange(
        view_of(flight.kept_key), flight.rank, flight.world_size, view_of(flight.kept_value),
        flight.time)

# The store over a native server. Its operations have the names and arguments of rendezvous.Store,
# which a test compares; each makes its request and returns the coroutine that carries it.

cdef class NativeOperations:
    """The operations of a store on a native server, over its line's connections."""

    cdef object _line, _loop
    cdef string _name
    cdef double _timeout_s
    cdef int64_t _owner_pid

    def __init__(self, line, loop, str name, double timeout_s):
        self._line = line
        self._loop = loop
        self._name = name.encode()
        self._timeout_s = timeout_s
        self._owner_pid = os.getpid()

    # Carries a request until it is answered, over one connection after another.
    async def _run(self, Flight flight, int how):
        cdef CFlight* c
        cdef ConnectionBase connection
        cdef bint is_dropped = False
        if flight.make != NULL:
            flight.flight = make_flight(flight.make(flight))
        c = flight.flight.get()
        line = self._line
        known = line.restarts
        self._check_place()
        while True:
            connection = line.usable
            if (connection is None or not connection.link.get().is_open()
                    or not connection.has_room):
                if flight.make != NULL:
                    c.drop_body()
                    is_dropped = True
                connection = await self._ready(flight, known)
            if connection is not None and is_dropped:
                c.restore_body(flight.make(flight))
                is_dropped = False
            if connection is None or not connection.has_room:
                c.miss()
            elif connection.take_off(flight):
                try:
                    await flight.future
                except BaseException:
                    connection.give_up(flight)
                    raise
                if c.is_answered():
                    return self._shown(flight, how)
                if c.is_suspicious():
                    line.suspect(connection, c.seconds_since_take_off())
            if connection is None:
                c.throw_unless_repeatable(self._name, string())
            else:
                c.throw_unless_repeatable(self._name, connection.link.get().broken_text())

    # Not in the coroutine, whose frame each one that waits has.
    cdef object _shown(self, Flight flight, int how):
        cdef NativeResult result = flight.flight.get().result(self._name)
        return shown(result, flight, how)

    # A connection, with room if there is any in time.
    async def _ready(self, Flight flight, known):
        cdef CFlight* c = flight.flight.get()
        cdef ConnectionBase connection
        while True:
            connection = self._line.usable
            if connection is None or not connection.link.get().is_open():
                connection = await self._line.connection(c.seconds_to_connect(), known)
            if connection is None or connection.has_room:
                return connection
            await connection.room(c.seconds_to_answer())
            if connection.has_room or c.seconds_to_answer() <= 0:
                return connection

    cdef int _check_place(self) except -1:
        # In a forked child no loop that its parent runs is a running one.
        if _running_loop() is self._loop:
            return 0
        if os.getpid() != self._owner_pid:
            raise exception_of(failure_of(other_process_error(self._name, self._owner_pid)))
        raise RuntimeError(
            f"{message_of(self._name)} belongs to another event loop; connect in this one"
        )

    cdef Duration _time(self, timeout) except *:
        if timeout is None:
            return from_seconds(self._timeout_s)
        return from_seconds(seconds(timeout))

    cdef object _carry(self, Flight flight, NativeOperation& operation, int how):
        flight.flight = make_flight(move(operation))
        return self._run(flight, how)

    # Of one with a value, of which there is no copy before it is awaited.
    cdef object _carry_value(
        self, Flight flight, NativeOperation (*make)(Flight) except *, timeout, int how
    ):
        flight.time = self._time(timeout)
        flight.make = make
        return self._run(flight, how)

    cdef Flight _about(self, key):
        cdef Flight flight = Flight.__new__(Flight)
        flight.kept_key = key_kept(key)
        return flight

    cdef Flight _about_value(self, key, value):
        cdef Flight flight = self._about(key)
        flight.kept_value = value_kept(value)
        return flight

    cdef Flight _about_list(self, list items):
        cdef Flight flight = Flight.__new__(Flight)
        flight.kept_more = items
        for item in items:
            flight.keys.push_back(view_of(item))
        return flight

    def ping(self):
        cdef Flight flight = Flight.__new__(Flight)
        cdef NativeOperation operation = op_ping(self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def set(self, key, value, ttl=None):
        cdef Flight flight = self._about_value(key, value)
        flight.ttl = kForever
        if ttl is not None:
            flight.ttl = from_seconds(seconds(ttl, "a time to live"))
        return self._carry_value(flight, make_set, None, AS_IT_IS)

    def get(self, key, timeout=None):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_read(view_of(flight.kept_key), self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    def try_get(self, key):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_try_get(view_of(flight.kept_key), self._time(None))
        return self._carry(flight, operation, AS_VALUE)

    # What TCPStore.watch() is made of.
    def _watch(self, key, known_version, timeout):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_watch(
            view_of(flight.kept_key), version_number(known_version), self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    # What TCPStore.watch_prefix() is made of.
    def _watch_prefix(self, prefix, uint64_t position, bytes cursor, timeout):
        cdef Flight flight = self._about(prefix)
        cdef NativeOperation operation = op_watch_prefix(
            view_of(flight.kept_key), position, view_of(cursor), self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    def set_if_version(self, key, value, version):
        cdef Flight flight = self._about_value(key, value)
        flight.version = version_number(version)
        return self._carry_value(flight, make_set_if_version, None, AS_IT_IS)

    cdef object _exchange(self, key, expected, desired, int how):
        cdef Flight flight = self._about_value(key, expected)
        flight.kept_more = value_kept(desired)
        return self._carry_value(flight, make_compare_exchange, None, how)

    def compare_set(self, key, expected, desired):
        return self._exchange(key, expected, desired, AS_COMPARE_SET)

    def compare_exchange(self, key, expected, desired):
        return self._exchange(key, expected, desired, AS_IT_IS)

    def add(self, key, amount):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_add(
            view_of(flight.kept_key), whole_number(amount, "the amount of add"), self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def check(self, keys):
        cdef Flight flight = self._about_list(list_of(keys))
        cdef NativeOperation operation = op_check(flight.keys, self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def wait(self, keys, timeout=None):
        cdef Flight flight = self._about_list(list_of(keys))
        cdef NativeOperation operation = op_wait(flight.keys, self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    def delete_key(self, key):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_delete_key(view_of(flight.kept_key), self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def delete_prefix(self, prefix):
        cdef Flight flight = self._about(prefix)
        cdef NativeOperation operation = op_delete_prefix(
            view_of(flight.kept_key), self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def num_keys(self):
        cdef Flight flight = Flight.__new__(Flight)
        cdef NativeOperation operation = op_num_keys(self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def list_keys(self, prefix=""):
        cdef Flight flight = self._about(prefix)
        cdef NativeOperation operation = op_list_keys(view_of(flight.kept_key), self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def append(self, key, value):
        cdef Flight flight = self._about_value(key, value)
        return self._carry_value(flight, make_append, None, AS_IT_IS)

    def multi_get(self, keys, timeout=None):
        cdef Flight flight = self._about_list(list_of(keys))
        cdef NativeOperation operation = op_multi_read(flight.keys, self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    def multi_set(self, keys, values):
        pairs = [part for pair in pairs_of(keys, values) for part in pair]
        cdef Flight flight = self._about_list(pairs)
        return self._carry_value(flight, make_multi_set, None, AS_IT_IS)

    def queue_push(self, key, value):
        cdef Flight flight = self._about_value(key, value)
        return self._carry_value(flight, make_queue_push, None, AS_IT_IS)

    def queue_pop(self, key, block=True, timeout=None):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_queue_pop(
            view_of(flight.kept_key), bool(block), self._time(timeout if block else None))
        return self._carry(flight, operation, AS_IT_IS)

    def queue_len(self, key):
        cdef Flight flight = self._about(key)
        cdef NativeOperation operation = op_queue_len(view_of(flight.kept_key), self._time(None))
        return self._carry(flight, operation, AS_IT_IS)

    def barrier(self, key, world_size, timeout=None, rank=None, round=None):
        cdef Flight flight = self._about(key)
        cdef Seat seat
        seat.world_size = whole_number(world_size, "the world_size of barrier")
        if rank is None and round is not None:
            raise _errors.StoreValueError(
                "barrier: round needs rank; pass both"
            )
        if rank is not None:
            seat.rank = whole_number(rank, "the rank of barrier")
        if round is not None:
            seat.round = whole_number(round, "the round of barrier")
        cdef NativeOperation operation = op_barrier(
            view_of(flight.kept_key), seat, random_token(), self._time(timeout))
        return self._carry(flight, operation, AS_IT_IS)

    def exchange(self, key, rank, world_size, value, timeout=None):
        cdef Flight flight = self._about_value(key, value)
        flight.rank = whole_number(rank, "the rank of exchange")
        flight.world_size = whole_number(world_size, "the world_size of exchange")
        return self._carry_value(flight, make_exchange, timeout, AS_IT_IS)

    def set_timeout(self, timeout):
        self._timeout_s = seconds(timeout)

    @property
    def _default_timeout_s(self):
        return self._timeout_s

# One connection as an asyncio protocol: the event loop's transport owns the socket and reads it into
# a buffer that all connections of a loop share; what is to be sent goes straight to the socket while
# nothing is queued there, all requests of a turn of the loop together.

cdef extern from "aio/link.h" namespace "rdzv::aio":
    cppclass Link:
        vector[void*]& over()
        cbool is_open()
        const string& broken_text()
        void receive(const char* data, size_t count) except +raise_failure
        void receive_what_is_there() except +raise_failure
        Sent flush() except +raise_failure
        string_view chunk() except +raise_failure
        void on_chunk_taken(size_t count)
        void on_lost(int error)
        void break_off(const string& why)
        void probe()
        int64_t next_ns()
        cbool run_due() except +raise_failure
        cbool alive_since(int64_t instant_ns)
        size_t unsent_bytes()
    shared_ptr[Link] make_link(
        const Session& session, string_view heard, int fd, void* secured
    ) except +raise_failure
    cppclass CFlight "rdzv::aio::Flight":
        cbool take_off(const shared_ptr[Link]& link, void* owner) except +raise_failure
        void give_up()
        void miss()
        void drop_body()
        void restore_body(NativeOperation again)
        cbool is_answered()
        cbool is_suspicious()
        void throw_unless_repeatable(const string& store, const string& broken) except +raise_failure
        NativeResult result(const string& store) except +raise_failure
        double seconds_to_connect()
        double seconds_to_answer()
        double seconds_since_take_off()
    unique_ptr[CFlight] make_flight(NativeOperation operation) except +raise_failure
    void enter(Session& session, Link& link)
    void leave(Session& session, Link& link)
    uint64_t restarts(const Session& session)
    string observed_address(const Session& session)

cdef const char* _SECURED = "rendezvous.tls.Session"
cdef const char* _TAKEN = "taken"
_BUFFER_BYTES = 256 * 1024
# Unsent requests of so many bytes are sent before the turn of the loop is over.
cdef enum:
    UNSENT_BYTES_MAX = 16 * 1024
    NANOSECONDS = 1000000000

_buffers = threading.local()


def _shared_buffer():
    try:
        return _buffers.view
    except AttributeError:
        _buffers.view = memoryview(bytearray(_BUFFER_BYTES))
        return _buffers.view


cdef class ClientSession:
    """The client's identity over all its connections (csrc/client/session.h)."""

    cdef unique_ptr[Session] session

    def __cinit__(self, bytes id):
        self.session.reset(new Session(<string>id))

    @property
    def restarts(self):
        return restarts(dereference(self.session))

    @property
    def observed_address(self):
        return observed_address(dereference(self.session)).decode()

    def enter(self, ConnectionBase connection):
        enter(dereference(self.session), dereference(connection.link))

    def leave(self, ConnectionBase connection):
        leave(dereference(self.session), dereference(connection.link))


cdef class Flight:
    """A request in flight. Its connection holds it until it is answered."""

    cdef unique_ptr[CFlight] flight
    cdef vector[string_view] keys
    cdef object future
    cdef object kept_key, kept_value, kept_more  # what the request names
    # Makes it again, where its body may be large: it need not be there while it waits for room.
    cdef NativeOperation (*make)(Flight) except *
    cdef Duration time, ttl
    cdef int64_t rank, world_size
    cdef uint64_t version


cdef class ConnectionBase:
    cdef shared_ptr[Link] link
    cdef object loop, transport, lent, view, on_silent, timer
    cdef set flying
    cdef object waiting_for_room  # the first has its turn first
    cdef char* data
    cdef int64_t timer_at
    cdef bint has_room, flush_is_due
    cdef readonly object closed

    def __init__(self, loop, ClientSession session, bytes heard, int fd, lent, on_silent, secured=None):
        cdef void* taken = NULL
        if secured is not None:
            # From now on it is the link's.
            taken = PyCapsule_GetPointer(secured, _SECURED)
            PyCapsule_SetDestructor(secured, NULL)
            PyCapsule_SetName(secured, _TAKEN)
        self.link = make_link(
            dereference(session.session),
            string_view(PyBytes_AS_STRING(heard), PyBytes_GET_SIZE(heard)), fd, taken
        )
        self.loop = loop
        self.lent = lent
        self.on_silent = on_silent
        self.flying = set()
        self.waiting_for_room = deque()
        self.view = _shared_buffer()
        cdef char[::1] bytes_of_view = self.view
        self.data = &bytes_of_view[0]
        self.has_room = True
        # Set when the socket is closed.
        self.closed = loop.create_future()

    # What the event loop calls.

    def connection_made(self, transport):
        self.transport = transport
        # Room is what the socket has: nothing is to be queued beyond that.
        transport.set_write_buffer_limits(0)

    def get_buffer(self, Py_ssize_t sizehint):
        return self.view

    def buffer_updated(self, Py_ssize_t count):
        cdef Link* link = self.link.get()
        link.receive(self.data, count)
        self.tell()
        if not link.is_open():
            self.transport.abort()
        elif link.unsent_bytes() > 0:
            self.after_post()  # an item that nobody took is on its way back

    def eof_received(self):
        return None

    def connection_lost(self, error):
        cdef int number = 0
        if error is not None:
            number = getattr(error, "errno", None) or 0
        self.link.get().on_lost(number)
        self.end()

    def pause_writing(self):
        self.has_room = False

    def resume_writing(self):
        self.has_room = True
        self.flush()
        self.wake_next()

    # What the store and its line call.

    @property
    def is_open(self):
        return self.link.get().is_open()

    @property
    def in_flight(self):
        return len(self.flying)

    @property
    def broken_text(self):
        return message_of(self.link.get().broken_text())

    def probe(self):
        """Ask the server for a byte, so that its silence means something."""
        self.link.get().probe()
        self.flush()

    def alive_since(self, double ago_s):
        return self.link.get().alive_since(now_ns() - <int64_t>(ago_s * NANOSECONDS))

    def shut_down(self, str why):
        """End the connection and all its requests."""
        self.link.get().break_off(why.encode())
        if self.transport is not None:
            self.transport.abort()
        self.tell()
        self.wake_all()

    async def room(self, double timeout_s):
        """Wait until the socket accepts more. Returns whether it does."""
        if self.has_room or not self.link.get().is_open():
            return self.has_room
        waiter = self.loop.create_future()
        self.waiting_for_room.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=min(timeout_s, 1e8))
        except BaseException:
            if waiter.done():
                self.wake_next()
            raise
        finally:
            waiter.cancel()
        return self.has_room

    cdef bint take_off(self, Flight flight) except -1:
        if not flight.flight.get().take_off(self.link, <void*>flight):
            return False
        flight.future = self.loop.create_future()
        self.flying.add(flight)
        self.after_post()
        if self.waiting_for_room:
            self.wake_next()
        return True

    cdef int give_up(self, Flight flight) except -1:
        self.flying.discard(flight)
        flight.flight.get().give_up()
        if self.link.get().unsent_bytes() > 0 and self.transport is not None:
            if not self.transport.is_closing():
                self.after_post()

    cdef int after_post(self) except -1:
        cdef Link* link = self.link.get()
        if self.has_room:
            # The first of a turn goes at once, those behind it together.
            if not self.flush_is_due or link.unsent_bytes() > UNSENT_BYTES_MAX:
                self.flush()
            if not self.flush_is_due and len(self.flying) > 1:
                self.flush_is_due = True
                self.loop.call_soon(self.end_turn)
        self.set_timer()

    def end_turn(self):
        self.flush_is_due = False
        if self.has_room:
            self.flush()

    cdef int flush(self) except -1:
        cdef Link* link = self.link.get()
        cdef string_view out
        while self.has_room:
            if link.flush() != kMore:
                break
            # pause_writing() is called as soon as the transport has some of it left.
            out = link.chunk()
            chunk = PyBytes_FromStringAndSize(out.data(), out.size())
            link.on_chunk_taken(out.size())
            self.transport.write(chunk)
        self.tell()

    # Those that are over go on in the loop's next turn.
    cdef int tell(self) except -1:
        cdef Flight flight
        cdef void* owner
        while not self.link.get().over().empty():
            owner = self.link.get().over().back()
            self.link.get().over().pop_back()
            flight = <Flight>owner
            self.flying.discard(flight)
            if not flight.future.done():
                flight.future.set_result(None)

    cdef int set_timer(self) except -1:
        cdef int64_t at = self.link.get().next_ns()
        if at == kNeverNs or (self.timer is not None and self.timer_at <= at):
            return 0
        if self.timer is not None:
            self.timer.cancel()
        self.timer_at = at
        self.timer = self.loop.call_later(
            max(0, at - now_ns()) / <double>NANOSECONDS + 0.0005, self.on_time
        )

    def on_time(self):
        cdef Link* link = self.link.get()
        self.timer = None
        if link.next_ns() <= now_ns():
            # The loop may have been busy with others, while the answers were there.
            link.receive_what_is_there()
            is_silent = link.run_due()
            self.tell()
            if is_silent:
                self.on_silent(self)
        if link.is_open():
            self.after_post()

    cdef int end(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.tell()
        self.wake_all()
        self.transport = None
        self.lent = None  # before the socket is closed
        self.on_silent = None
        if not self.closed.done():
            self.closed.set_result(None)

    # Of those who wait for room; who takes off wakes the next one.
    cdef int wake_next(self) except -1:
        while self.has_room and self.waiting_for_room:
            waiter = self.waiting_for_room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    cdef int wake_all(self) except -1:
        for waiter in self.waiting_for_room:
            if not waiter.done():
                waiter.set_result(None)
        self.waiting_for_room.clear()


class Connection(ConnectionBase, asyncio.BufferedProtocol):
    """A connection after its greeting, from the moment its transport exists."""

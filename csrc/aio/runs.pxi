# What a node asks about its run, as coroutines. Their results are tuples, in the order of the fields
# of the messages (csrc/wire/run_messages.h and run_look_messages.h); rendezvous.aio._world gives them
# names.

cdef extern from "client/run_operations.h" namespace "rdzv":
    cppclass CRunPart "rdzv::RunPart":
        pass
    cppclass NodeName:
        string addr
        uint64_t pid
        uint64_t local_id
    cppclass RunMember:
        NodeName node
        uint32_t rank
    cppclass RunPage:
        vector[RunMember] members
        string cursor
    cppclass RunGone:
        NodeName node
    cppclass RunFollowed:
        vector[RunGone] gone
    cppclass RunLeft:
        cbool was_listed
        string cause
    cppclass RunPlace:
        uint64_t round
        uint32_t rank
        uint32_t world_size
    cppclass MemberList "rdzv::native::MemberList":
        pass
    uint64_t kNothingKnown "rdzv::native::kNothingKnown"

cdef extern from "aio/runs.h" namespace "rdzv::aio":
    unique_ptr[CRunPart] make_part(
        string_view run_id, string_view addr, uint64_t pid, uint64_t local_id,
        string_view settings, string_view facts, double grace_s) except +raise_failure
    unique_ptr[CRunPart] make_onlooker(string_view run_id) except +raise_failure
    MemberList member_list(int which)
    vector[uint64_t] numbers_of(const NativeResult& result)
    const NodeName& first_of(const NativeResult& result)
    const RunLeft& left_in(const NativeResult& result)
    const RunPage& page_in(const NativeResult& result)
    const RunFollowed& followed_in(const NativeResult& result)
    vector[uint64_t] followed_numbers "rdzv::aio::numbers_of"(const RunFollowed& followed)
    int how_of(const RunGone& gone)
    string cause_in(const NativeResult& result)

cdef extern from "client/run_operations.h" namespace "rdzv::run_operations":
    NativeOperation run_join "rdzv::run_operations::join"(
        const CRunPart&, uint64_t, Duration, cbool) except +raise_failure
    NativeOperation run_leave "rdzv::run_operations::leave"(
        const CRunPart&, cbool, Duration) except +raise_failure
    NativeOperation run_keep_alive "rdzv::run_operations::keep_alive"(
        const CRunPart&, Duration) except +raise_failure
    NativeOperation run_close "rdzv::run_operations::close_run"(
        const CRunPart&, string_view, cbool, Duration) except +raise_failure
    NativeOperation run_status "rdzv::run_operations::status"(
        const CRunPart&, Duration) except +raise_failure
    NativeOperation run_subscribe "rdzv::run_operations::subscribe"(
        const CRunPart&, uint64_t, uint32_t, cbool, Duration) except +raise_failure
    NativeOperation run_follow "rdzv::run_operations::follow"(
        const CRunPart&, uint64_t, Duration) except +raise_failure
    NativeOperation run_members "rdzv::run_operations::members"(
        const CRunPart&, MemberList, string_view, uint32_t, Duration) except +raise_failure
    NativeOperation run_resume "rdzv::run_operations::resume"(
        const CRunPart&, const RunPlace&, Duration) except +raise_failure


NOTHING_KNOWN = kNothingKnown


cdef class RunPart:
    """A node's part in a run."""

    cdef unique_ptr[CRunPart] part

    def __init__(self, str run_id, node=None, settings=None, double grace_s=0, facts=None):
        """node, settings and facts: _core's; None: for an observer."""
        cdef bytes id = run_id.encode()
        cdef bytes addr, agreed, own
        if node is None:
            self.part = make_onlooker(view_of(id))
            return
        addr = node.addr.encode()
        agreed, own = settings._wire, facts._wire
        self.part = make_part(
            view_of(id), view_of(addr), node.pid, node.local_id, view_of(agreed), view_of(own), grace_s
        )


cdef tuple peer_of(const NodeName& peer):
    return (message_of(peer.addr), peer.pid, peer.local_id)


cdef object page_of(const RunPage& page):
    cdef size_t i
    cdef list members = []
    for i in range(page.members.size()):
        members.append((page.members[i].rank, peer_of(page.members[i].node)))
    return members, <bytes>page.cursor


cdef tuple tuple_of(const vector[uint64_t]& found):
    cdef size_t i
    return tuple([found[i] for i in range(found.size())])


cdef object news_of(const RunFollowed& followed):
    cdef size_t i
    cdef list gone = []
    for i in range(followed.gone.size()):
        gone.append((peer_of(followed.gone[i].node), how_of(followed.gone[i])))
    return tuple_of(followed_numbers(followed)), gone


# Of the kinds that speak of runs.
cdef object run_shown(const NativeResult& result, int kind):
    if kind == 13:
        return bool(left_in(result).was_listed), message_of(left_in(result).cause)
    if kind == 15:
        return page_of(page_in(result))
    if kind == 16:
        return news_of(followed_in(result))
    numbers = tuple_of(numbers_of(result))
    if kind == 9:
        return numbers, peer_of(first_of(result))
    if kind == 14:
        return numbers, message_of(cause_in(result))
    return numbers


class RunOperations:
    """What a node asks about its run, over its store's connection."""

    def __init__(self, NativeOperations store, RunPart part):
        self._store = store
        self._part = part

    def join(self, uint64_t after_round, timeout, bint is_spare):
        return _carried(
            self, run_join(dereference(_part(self)), after_round, _seconds(timeout), is_spare)
        )

    def leave(self, bint failed, timeout):
        return _carried(self, run_leave(dereference(_part(self)), failed, _seconds(timeout)))

    def keep_alive(self, timeout):
        return _carried(self, run_keep_alive(dereference(_part(self)), _seconds(timeout)))

    def close_run(self, timeout, bytes reason=b"", bint do_not_restart=False):
        return _carried(
            self,
            run_close(
                dereference(_part(self)), view_of(reason), do_not_restart, _seconds(timeout)
            ),
        )

    def status(self, timeout):
        return _carried(self, run_status(dereference(_part(self)), _seconds(timeout)))

    def subscribe(self, uint64_t round, uint32_t known_changes, bint known_closed, timeout):
        return _carried(
            self,
            run_subscribe(dereference(_part(self)), round, known_changes, known_closed, _seconds(timeout))
        )

    def follow(self, uint64_t known_version, timeout):
        return _carried(
            self, run_follow(dereference(_part(self)), known_version, _seconds(timeout))
        )

    def members(self, int which, bytes cursor, uint32_t limit, timeout):
        return _carried(
            self,
            run_members(
                dereference(_part(self)), member_list(which), view_of(cursor), limit, _seconds(timeout)
            )
        )

    def resume(self, uint64_t round, uint32_t rank, uint32_t world_size, timeout):
        cdef RunPlace place
        place.round = round
        place.rank = rank
        place.world_size = world_size
        return _carried(self, run_resume(dereference(_part(self)), place, _seconds(timeout)))


cdef Duration _seconds(timeout) except *:
    return from_seconds(seconds(timeout))


cdef CRunPart* _part(run) except NULL:
    return (<RunPart>run._part).part.get()


cdef object _carried(run, NativeOperation operation):
    cdef Flight flight = Flight.__new__(Flight)
    flight.kept_key = run._part  # which the request names
    return (<NativeOperations>run._store)._carry(flight, operation, AS_IT_IS)

# What Cython sees of the client's core. Declarations alone.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

cdef extern from "base/clock.h" namespace "rdzv" nogil:
    cppclass Duration:
        pass
    Duration from_seconds(double seconds)
    Duration kForever

cdef extern from "base/random.h" namespace "rdzv" nogil:
    uint64_t random_token() except +

cdef extern from "base/error.h" namespace "rdzv" nogil:
    cppclass Missing:
        vector[string] keys
        vector[int64_t] ranks
    cppclass Error:
        pass
    string errno_text(int error)

cdef extern from "client/line_rules.h" namespace "rdzv" nogil:
    cppclass Calm:
        pass
    Error closed_error(const string& store)
    Error restarted_error(const string& store)
    Error other_process_error(const string& store, int64_t pid)
    string replaced_text(Duration silent)
    Duration kDialMin
    double to_seconds(Duration duration)

cdef extern from "client/patience.h" namespace "rdzv" nogil:
    Duration kSignOfLife
    Duration kSilenceMax
    Duration kReconnectMax
    Duration kAnswerGrace

cdef extern from "store/store.h" namespace "rdzv" nogil:
    cppclass TakenBytes:
        string_view view() const
    cppclass Seat "rdzv::Store::Seat":
        int64_t world_size
        int64_t rank
        int64_t round
    cppclass Exchange "rdzv::Store::Exchange":
        cbool swapped
        cbool exists
        TakenBytes value
    cppclass Versioned "rdzv::Store::Versioned":
        TakenBytes value
        uint64_t version
    cppclass VersionSet "rdzv::Store::VersionSet":
        cbool swapped
        uint64_t version

cdef extern from "client/native_operations.h" namespace "rdzv" nogil:
    cppclass NativeOperation:
        pass
    cppclass NativeResult:
        pass
    cppclass PrefixChanges:
        uint64_t position
        cbool begins
        string cursor
        vector[string] keys
        vector[uint64_t] versions
        vector[TakenBytes] values

cdef extern from "aio/result.h" namespace "rdzv::aio" nogil:
    int kind_of(const NativeResult& result)
    const cbool& bool_in "rdzv::aio::in<bool>"(const NativeResult& result)
    const int64_t& int_in "rdzv::aio::in<int64_t>"(const NativeResult& result)
    const TakenBytes& bytes_in "rdzv::aio::in<rdzv::TakenBytes>"(const NativeResult& result)
    const Exchange& exchange_in "rdzv::aio::in<rdzv::Store::Exchange>"(const NativeResult& result)
    const Versioned& versioned_in "rdzv::aio::in<rdzv::Store::Versioned>"(const NativeResult& result)
    const VersionSet& version_set_in "rdzv::aio::in<rdzv::Store::VersionSet>"(
        const NativeResult& result)
    const vector[string]& keys_in "rdzv::aio::in<std::vector<std::string>>"(
        const NativeResult& result)
    const vector[TakenBytes]& values_in "rdzv::aio::in<std::vector<rdzv::TakenBytes>>"(
        const NativeResult& result)
    const PrefixChanges& changes_in "rdzv::aio::in<rdzv::PrefixChanges>"(const NativeResult& result)
    cppclass Failure:
        string class_name
        string message
        Missing missing
    Failure failure_of(const Error& error)
    Failure current_failure()

cdef extern from "aio/link.h" namespace "rdzv::aio" nogil:
    int64_t now_ns()
    int64_t kNeverNs
    cppclass Session:
        Session(const string& id)
    enum Sent "rdzv::aio::Link::Sent":
        kAll "rdzv::aio::Link::kAll"
        kMore "rdzv::aio::Link::kMore"
        kNoMore "rdzv::aio::Link::kNoMore"

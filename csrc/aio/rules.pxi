# The rules by which a line is kept (csrc/client/line_rules.h), for rendezvous.aio._line.

cdef extern from "aio/link.h" namespace "rdzv::aio":
    cbool is_over(const Calm& calm)
    void begin(Calm& calm, cbool was_alive)

DIAL_MIN_S = to_seconds(kDialMin)
SIGN_OF_LIFE_S = to_seconds(kSignOfLife)
SILENCE_MAX_S = to_seconds(kSilenceMax)
ANSWER_GRACE_S = to_seconds(kAnswerGrace)


cdef class CalmTime:
    """The pause between two suspicions."""

    cdef Calm calm

    def is_over(self):
        return is_over(self.calm)

    def begin(self, bint was_alive):
        begin(self.calm, was_alive)


def closed(str name):
    return exception_of(failure_of(closed_error(name.encode())))


def restarted(str name):
    return exception_of(failure_of(restarted_error(name.encode())))


def replaced(double silent_s):
    return message_of(replaced_text(from_seconds(silent_s)))


def no_thread(str name, str why):
    return _errors.StoreConnectionError(
        f"{name}: cannot connect: cannot start a thread ({why}); raise the limit of processes "
        "(ulimit -u, or the container's)"
    )

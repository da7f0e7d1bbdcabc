// Preloaded (LD_PRELOAD), it sets the wall clock back by an hour each time that it is read, and no
// other clock. A wait that ends at a time of the wall clock lasts as much longer as the clock has
// been set back, as in the kernel; waits by CLOCK_MONOTONIC are not touched.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define STEP_S 3600
// Conditions that were made with CLOCK_MONOTONIC, by address; a power of two.
#define CONDITIONS (1u << 16)
#define GONE ((const void*)1)

static atomic_long g_steps;
static const void* g_monotonic[CONDITIONS];
static atomic_flag g_lock = ATOMIC_FLAG_INIT;

static void* original(const char* name) {
  // The conditions of glibc's first years have the same names, without this version.
  void* found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
  if (found == NULL) found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}
#define ORIGINAL(name) ((__typeof__(&name))original(#name))

static long set_back_s(void) { return STEP_S * atomic_load(&g_steps); }

static struct timespec later(const struct timespec* deadline) {
  struct timespec moved = *deadline;
  atomic_fetch_add(&g_steps, 1);
  moved.tv_sec += set_back_s();
  return moved;
}

static void remember(const void* condition, int is_monotonic) {
  while (atomic_flag_test_and_set(&g_lock)) {
  }
  unsigned slot = (unsigned)(((uintptr_t)condition >> 3) * 2654435761u) % CONDITIONS;
  const void** free_slot = NULL;
  for (unsigned tried = 0; tried < CONDITIONS; ++tried, slot = (slot + 1) % CONDITIONS) {
    if (g_monotonic[slot] == condition || g_monotonic[slot] == NULL) break;
    if (g_monotonic[slot] == GONE && free_slot == NULL) free_slot = &g_monotonic[slot];
  }
  if (g_monotonic[slot] == condition) {
    if (!is_monotonic) g_monotonic[slot] = GONE;
  } else if (is_monotonic) {
    if (free_slot == NULL) free_slot = &g_monotonic[slot];
    if (*free_slot != NULL && *free_slot != GONE) abort();  // full
    *free_slot = condition;
  }
  atomic_flag_clear(&g_lock);
}

static int is_monotonic(const void* condition) {
  while (atomic_flag_test_and_set(&g_lock)) {
  }
  unsigned slot = (unsigned)(((uintptr_t)condition >> 3) * 2654435761u) % CONDITIONS;
  unsigned tried = 0;
  while (tried++ < CONDITIONS && g_monotonic[slot] != condition && g_monotonic[slot] != NULL)
    slot = (slot + 1) % CONDITIONS;
  int found = g_monotonic[slot] == condition;
  atomic_flag_clear(&g_lock);
  return found;
}

// The clock.

int clock_gettime(clockid_t clock, struct timespec* now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    atomic_fetch_add(&g_steps, 1);
    now->tv_sec -= set_back_s();
  }
  return result;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  (void)zone;
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* now) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (now != NULL) *now = found.tv_sec;
  return found.tv_sec;
}

// The waits.

int pthread_cond_init(pthread_cond_t* restrict condition,
                      const pthread_condattr_t* restrict attributes) {
  clockid_t clock = CLOCK_REALTIME;
  if (attributes != NULL) pthread_condattr_getclock(attributes, &clock);
  remember(condition, clock == CLOCK_MONOTONIC);
  return ORIGINAL(pthread_cond_init)(condition, attributes);
}

int pthread_cond_destroy(pthread_cond_t* condition) {
  remember(condition, 0);
  return ORIGINAL(pthread_cond_destroy)(condition);
}

int pthread_cond_timedwait(pthread_cond_t* restrict condition, pthread_mutex_t* restrict mutex,
                           const struct timespec* restrict deadline) {
  struct timespec until = is_monotonic(condition) ? *deadline : later(deadline);
  return ORIGINAL(pthread_cond_timedwait)(condition, mutex, &until);
}

int sem_timedwait(sem_t* restrict semaphore, const struct timespec* restrict deadline) {
  struct timespec until = later(deadline);
  return ORIGINAL(sem_timedwait)(semaphore, &until);
}

int pthread_mutex_timedlock(pthread_mutex_t* restrict mutex,
                            const struct timespec* restrict deadline) {
  struct timespec until = later(deadline);
  return ORIGINAL(pthread_mutex_timedlock)(mutex, &until);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec* length,
                    struct timespec* left) {
  struct timespec until = *length;
  if (clock == CLOCK_REALTIME && (flags & TIMER_ABSTIME) != 0) until = later(length);
  return syscall(SYS_clock_nanosleep, clock, flags, &until, left) == 0 ? 0 : errno;
}

#if __GLIBC_PREREQ(2, 30)
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const struct timespec* deadline) {
  struct timespec until = clock == CLOCK_REALTIME ? later(deadline) : *deadline;
  return ORIGINAL(pthread_cond_clockwait)(condition, mutex, clock, &until);
}

int sem_clockwait(sem_t* semaphore, clockid_t clock, const struct timespec* deadline) {
  struct timespec until = clock == CLOCK_REALTIME ? later(deadline) : *deadline;
  return ORIGINAL(sem_clockwait)(semaphore, clock, &until);
}
#endif

/* A machine whose clock can be set back: preloaded into processes, it takes the seconds in the file CLOCK_BACK_FILE (a double) from
   CLOCK_REALTIME, and waits that end at a time of that clock end when this clock says so. CLOCK_MONOTONIC is left alone, as by `date -s`.

   cc -O2 -fPIC -shared -o clock_back.so clock_back.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SLICE 50000000L /* ns: how soon a wait notices that the clock was set */

static volatile double *back;
static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_cond)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_sem)(sem_t *, const struct timespec *);
static int (*real_lock)(pthread_mutex_t *, const struct timespec *);
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void start(void) {
    if (real_clock) return;
    real_cond = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real_cond) real_cond = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_sem = dlsym(RTLD_NEXT, "sem_timedwait");
    real_lock = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    real_syscall = dlsym(RTLD_NEXT, "syscall");
    const char *path = getenv("CLOCK_BACK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *at = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
        if (at != MAP_FAILED) back = at;
        close(file);
    }
    real_clock = dlsym(RTLD_NEXT, "clock_gettime");
}

static void shift(struct timespec *at, double seconds) {
    int64_t ns = (int64_t)at->tv_sec * 1000000000L + at->tv_nsec + (int64_t)(seconds * 1e9);
    at->tv_sec = ns / 1000000000L;
    at->tv_nsec = ns % 1000000000L;
}

static double behind(void) { return back ? *back : 0.0; }

int clock_gettime(clockid_t clock, struct timespec *at) {
    start();
    int code = real_clock(clock, at);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(at, -behind());
    return code;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

/* The end of the next slice of a wait, in the kernel's clock; 0 where the time is over. */
static int slice(const struct timespec *end, struct timespec *until) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = (int64_t)(end->tv_sec - now.tv_sec) * 1000000000L + (end->tv_nsec - now.tv_nsec);
    if (left <= 0) return 0;
    real_clock(CLOCK_REALTIME, until);
    shift(until, (left < SLICE ? left : SLICE) / 1e9);
    return 1;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *end) {
    start();
    struct timespec until;
    if (condition->__data.__wrefs & 2) return real_cond(condition, mutex, end); /* of the monotonic clock */
    while (slice(end, &until)) {
        int code = real_cond(condition, mutex, &until);
        if (code != ETIMEDOUT) return code;
    }
    until.tv_sec = until.tv_nsec = 0;
    return real_cond(condition, mutex, &until);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *end) {
    start();
    struct timespec until;
    while (slice(end, &until)) {
        int code = real_sem(semaphore, &until);
        if (code == 0 || errno != ETIMEDOUT) return code;
    }
    until.tv_sec = until.tv_nsec = 0;
    return real_sem(semaphore, &until);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *end) {
    start();
    struct timespec until;
    while (slice(end, &until)) {
        int code = real_lock(mutex, &until);
        if (code != ETIMEDOUT) return code;
    }
    until.tv_sec = until.tv_nsec = 0;
    return real_lock(mutex, &until);
}

long syscall(long number, ...) {
    start();
    va_list given;
    va_start(given, number);
    long a = va_arg(given, long), b = va_arg(given, long), c = va_arg(given, long);
    long d = va_arg(given, long), e = va_arg(given, long), f = va_arg(given, long);
    va_end(given);
    int is_of_clock = number == SYS_futex && d && (b & FUTEX_CLOCK_REALTIME) && (b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    if (!is_of_clock) return real_syscall(number, a, b, c, d, e, f);
    struct timespec until;
    while (slice((const struct timespec *)d, &until)) {
        long code = real_syscall(number, a, b, c, &until, e, f);
        if (code == 0 || errno != ETIMEDOUT) return code;
    }
    until.tv_sec = until.tv_nsec = 0;
    return real_syscall(number, a, b, c, &until, e, f);
}

/* A disk that fails: preloaded, it has calls that touch files below a directory fail with EIO.
 *
 * No device of most machines can be told to fail. The calls that create, write or remove are counted; from
 * one of them on all fail, or that one alone, as the program says by disk_fails_at(). From then on who sleeps,
 * to try again, sleeps in no time: the clock that says how long has leapt.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char below[PATH_MAX];
static long calls, failing;
static int alone;
static long long leapt; /* nanoseconds */

void disk_fails_at(const char *directory, long call, int only_that) {
    snprintf(below, sizeof below, "%s/", directory);
    calls = 0, failing = call, alone = only_that;
}

long disk_calls(void) { return calls; }

static int fails(const char *path) {
    if (!failing || strncmp(path, below, strlen(below)))
        return 0;
    calls++;
    if (alone ? calls != failing : calls < failing)
        return 0;
    errno = EIO;
    return 1;
}

static int fails_at(int directory, const char *name) {
    char link[64], path[2 * PATH_MAX] = "";
    if (name[0] == '/')
        return fails(name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    snprintf(path + length, PATH_MAX, "/%s", name);
    return fails(path);
}

static int fails_open(int file) { return fails_at(file, ""); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { va_list all; va_start(all, flags); mode = va_arg(all, mode_t); va_end(all); }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return (flags & O_ACCMODE) && fails(path) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return (flags & O_ACCMODE) && fails(path) ? -1 : REAL(open64)(path, flags, mode);
}
int mkdir(const char *path, mode_t mode) { return fails(path) ? -1 : REAL(mkdir)(path, mode); }
int rename(const char *from, const char *to) { return fails(to) ? -1 : REAL(rename)(from, to); }
int link(const char *from, const char *to) { return fails(to) ? -1 : REAL(link)(from, to); }
int unlink(const char *path) { return fails(path) ? -1 : REAL(unlink)(path); }
int rmdir(const char *path) { return fails(path) ? -1 : REAL(rmdir)(path); }
int unlinkat(int directory, const char *name, int flags) {
    return fails_at(directory, name) ? -1 : REAL(unlinkat)(directory, name, flags);
}
ssize_t write(int file, const void *data, size_t size) {
    return fails_open(file) ? -1 : REAL(write)(file, data, size);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    return fails_open(file) ? -1 : REAL(pwrite64)(file, data, size, place);
}
int fsync(int file) { return fails_open(file) ? -1 : REAL(fsync)(file); }

static void leap(long long nanoseconds) { leapt += nanoseconds > 0 ? nanoseconds : 0; }

static long long as_nanoseconds(const struct timespec *time) {
    return time->tv_sec * 1000000000LL + time->tv_nsec;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = REAL(clock_gettime)(clock, time);
    if (!result && clock == CLOCK_MONOTONIC) {
        long long now = as_nanoseconds(time) + leapt;
        time->tv_sec = now / 1000000000, time->tv_nsec = now % 1000000000;
    }
    return result;
}
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    struct timespec now = {0, 0};
    if (!failing)
        return REAL(clock_nanosleep)(clock, flags, until, left);
    if (flags & TIMER_ABSTIME)
        clock_gettime(clock, &now);
    leap(as_nanoseconds(until) - as_nanoseconds(&now));
    return 0;
}
int select(int count, fd_set *reading, fd_set *writing, fd_set *other, struct timeval *timeout) {
    if (!failing || count || !timeout)
        return REAL(select)(count, reading, writing, other, timeout);
    leap(timeout->tv_sec * 1000000000LL + timeout->tv_usec * 1000LL); /* how Python 3.10 sleeps */
    return 0;
}

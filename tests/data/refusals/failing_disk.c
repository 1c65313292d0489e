/* A disk that fails: preloaded, it has calls that touch files below a directory fail with EIO.
 *
 * No device of most machines can be told to fail. The calls that create, write or remove are counted; from
 * one of them on all fail, or that one alone, as the program says by disk_fails_at().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char below[PATH_MAX];
static long calls, failing;
static int alone;

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

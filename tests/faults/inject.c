/* Preloaded into a process, this makes the n-th change to files under one folder fail, or ends the
 * process there: the way SQLite tests itself (sqlite.org/testing.html, "I/O error testing").
 *
 * The file that FAULT_PLAN names is mapped as one `struct plan`, shared with forked processes.
 * Counted are the calls that create, write, flush, rename or link: each leaves another state behind.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct plan {
    uint64_t count;   /* calls so far */
    uint64_t at;      /* the call that is hit, from 1; 0: none */
    int32_t error;    /* its errno; 0: SIGKILL to the whole process group, as a power cut */
    int32_t lasting;  /* whether all later calls fail too, as on a full disk */
    char folder[4096];
};

static struct plan *plan;

__attribute__((constructor)) static void map_plan(void) {
    const char *name = getenv("FAULT_PLAN");
    int fd = name ? open(name, O_RDWR) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED) plan = found;
    close(fd);
}

/* 1 if this call is to fail; errno is set then. */
static int hit(const char *path) {
    if (!plan || !plan->folder[0] || !path) return 0;
    size_t length = strlen(plan->folder);
    if (strncmp(path, plan->folder, length) || (path[length] && path[length] != '/')) return 0;
    uint64_t now = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    if (!plan->at || now < plan->at || (now > plan->at && !plan->lasting)) return 0;
    if (!plan->error) kill(0, SIGKILL);
    errno = plan->error;
    return 1;
}

static int hit_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return hit(path);
}

static int hit_at(int folder, const char *name) {
    char path[2 * PATH_MAX], link[64];
    if (!plan || !plan->folder[0] || !name) return 0;
    if (name[0] == '/') return hit(name);
    ssize_t length = -1;
    if (folder == AT_FDCWD) {
        if (getcwd(path, PATH_MAX)) length = strlen(path);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, path, PATH_MAX);
    }
    if (length < 0) return 0;
    snprintf(path + length, sizeof path - length, "/%s", name);
    return hit(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *b, size_t n) { return hit_fd(fd) ? -1 : REAL(write)(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { return hit_fd(fd) ? -1 : REAL(writev)(fd, v, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { return hit_fd(fd) ? -1 : REAL(pwrite)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { return hit_fd(fd) ? -1 : REAL(pwrite64)(fd, b, n, o); }
ssize_t sendfile64(int to, int from, off64_t *o, size_t n) {
    ssize_t (*real)(int, int, off64_t *, size_t) = dlsym(RTLD_NEXT, "sendfile64");
    return hit_fd(to) ? -1 : real(to, from, o, n);
}
int fsync(int fd) { return hit_fd(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return hit_fd(fd) ? -1 : REAL(fdatasync)(fd); }
int ftruncate64(int fd, off64_t n) { return hit_fd(fd) ? -1 : REAL(ftruncate64)(fd, n); }
int rename(const char *a, const char *b) { return hit_at(AT_FDCWD, b) ? -1 : REAL(rename)(a, b); }
int renameat(int c, const char *a, int d, const char *b) { return hit_at(d, b) ? -1 : REAL(renameat)(c, a, d, b); }
int link(const char *a, const char *b) { return hit_at(AT_FDCWD, b) ? -1 : REAL(link)(a, b); }
int linkat(int c, const char *a, int d, const char *b, int f) { return hit_at(d, b) ? -1 : REAL(linkat)(c, a, d, b, f); }
int mkdir(const char *a, mode_t m) { return hit_at(AT_FDCWD, a) ? -1 : REAL(mkdir)(a, m); }
int mkdirat(int d, const char *a, mode_t m) { return hit_at(d, a) ? -1 : REAL(mkdirat)(d, a, m); }

#define OPENING(name)                                                                   \
    int name(const char *path, int flags, ...) {                                        \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return flags & O_CREAT && hit_at(AT_FDCWD, path) ? -1 : REAL(name)(path, flags, mode); \
    }
#define OPENING_AT(name)                                                                \
    int name(int folder, const char *path, int flags, ...) {                            \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return flags & O_CREAT && hit_at(folder, path) ? -1 : REAL(name)(folder, path, flags, mode); \
    }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

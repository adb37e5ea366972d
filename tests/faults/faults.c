/* Preloaded into a process: its k-th call that changes files fails, or ends the process by SIGKILL.

   A program sets the fault itself, with set_fault through ctypes. Others are given it in their environment:

     AIOS_FAULT="call error lasting"   call: the k-th, from 1; error: an errno, or 0 to kill; lasting: 1: all later calls fail, too
     AIOS_FAULT_IN=text                only in programs whose command line contains the text

   Writes to standard output, pipes, sockets, /dev and /proc are not counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int wanted, fault, lasting, count, owner;

void set_fault(int call, int error, int all_later) {
    wanted = call, fault = error, lasting = all_later, count = 0, owner = getpid();
}

int calls(void) { return count; }

__attribute__((constructor)) static void from_environment(void) {
    const char *given = getenv("AIOS_FAULT"), *program = getenv("AIOS_FAULT_IN");
    char line[4096] = "";
    int call, error, all_later, file;
    if (!given || !program || (file = open("/proc/self/cmdline", O_RDONLY)) < 0) return;
    ssize_t size = read(file, line, sizeof line - 1);
    close(file);
    for (ssize_t i = 0; i < size; i++) if (!line[i]) line[i] = ' ';
    if (strstr(line, program) && sscanf(given, "%d %d %d", &call, &error, &all_later) == 3) set_fault(call, error, all_later);
}

/* Whether this call fails now. */
static int fails(const char *path, int descriptor) {
    struct stat found;
    if (!owner || getpid() != owner) return 0;
    if (path && (!strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6))) return 0;
    if (!path && (descriptor < 3 || fstat(descriptor, &found) || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)))) return 0;
    int now = __sync_add_and_fetch(&count, 1);
    if (now != wanted && !(lasting && now > wanted && wanted)) return 0;
    if (!fault) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = fault;
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define BY_PATH(name, parameters, arguments, path) int name parameters { REAL(name); return fails(path, -1) ? -1 : real arguments; }
#define BY_FILE(result, name, parameters, arguments) result name parameters { REAL(name); return fails(0, file) ? -1 : real arguments; }
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND))

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    REAL(name); return WRITES(flags) && fails(path, -1) ? -1 : real(path, flags, mode); }
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
    REAL(name); return WRITES(flags) && fails(path, -1) ? -1 : real(folder, path, flags, mode); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

BY_FILE(ssize_t, write, (int file, const void *text, size_t size), (file, text, size))
BY_FILE(ssize_t, pwrite, (int file, const void *text, size_t size, off_t at), (file, text, size, at))
BY_FILE(ssize_t, pwrite64, (int file, const void *text, size_t size, off64_t at), (file, text, size, at))
BY_FILE(ssize_t, writev, (int file, const struct iovec *parts, int number), (file, parts, number))
BY_FILE(ssize_t, copy_file_range, (int source, off64_t *from, int file, off64_t *to, size_t size, unsigned flags), (source, from, file, to, size, flags))
BY_FILE(int, fsync, (int file), (file))
BY_FILE(int, fdatasync, (int file), (file))
BY_FILE(int, ftruncate, (int file, off_t size), (file, size))
BY_FILE(int, ftruncate64, (int file, off64_t size), (file, size))
BY_FILE(int, fchmod, (int file, mode_t mode), (file, mode))
BY_PATH(rename, (const char *old, const char *path), (old, path), path)
BY_PATH(renameat, (int a, const char *old, int b, const char *path), (a, old, b, path), path)
BY_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path)
BY_PATH(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), path)
BY_PATH(rmdir, (const char *path), (path), path)
BY_PATH(unlink, (const char *path), (path), path)
BY_PATH(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), path)
BY_PATH(link, (const char *old, const char *path), (old, path), path)
BY_PATH(linkat, (int a, const char *old, int b, const char *path, int flags), (a, old, b, path, flags), path)
BY_PATH(symlink, (const char *old, const char *path), (old, path), path)
BY_PATH(chmod, (const char *path, mode_t mode), (path, mode), path)
BY_PATH(utimensat, (int folder, const char *path, const struct timespec times[2], int flags), (folder, path, times, flags), path)

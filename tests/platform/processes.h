/* processes.h: what the tests of platform/ and snapshot/ share: cmocka, processes to run a test in,
 * and reading what the kernel says in /proc. */
#ifndef MIDDEN_TESTS_PROCESSES_H
#define MIDDEN_TESTS_PROCESSES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/platform/platform.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* In code that runs in a forked child or a clone, where cmocka's own assertions cannot be used: leave
 * with a status that the test prints, the line. */
#define EXPECT(condition)    \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

/* Run in a forked child, and give what it returned (-signal when killed). It has `seconds` for it. */
static inline int in_child(int (*run)(void), unsigned seconds)
{
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(seconds);
        /* Through a descriptor that is out of the way, because an exit status is one byte. */
        int line = run();
        if (write(pipe_ends[1], &line, sizeof line) < 0)
            _exit(line != 0);
        _exit(line != 0);
    }
    close(pipe_ends[1]);
    int line = 0, status = 0;
    ssize_t got = read(pipe_ends[0], &line, sizeof line);
    close(pipe_ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        return -WTERMSIG(status);
    return got == sizeof line ? line : WEXITSTATUS(status);
}

/* The text of a small file; "" when it cannot be read. */
static inline const char *file_text(const char *path)
{
    static char text[8192];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

static inline const char *file_of(int64_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/%s", (long long)pid, name);
    return file_text(path);
}

/* num_threads in /proc/self/stat, as CPython reads it at os.fork(). The file stays open, so that the answer
 * is quick: what is tested with it is a matter of microseconds. */
static inline long thread_count(void)
{
    static int file = -1;
    char text[1024];
    if (file < 0)
        file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = pread(file, text, sizeof text - 1, 0);
    text[bytes > 0 ? bytes : 0] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 20; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? -1 : strtol(at, NULL, 10);
}

static inline int map_count(void)
{
    char text[4096];
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), lines = 0;
    for (ssize_t bytes; (bytes = read(file, text, sizeof text)) > 0;)
        for (ssize_t at = 0; at < bytes; at++)
            lines += text[at] == '\n';
    close(file);
    return lines;
}

/* Whether this process has any child at all, whatever its exit signal; it is left as it is. */
static inline bool has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

#endif

/* linux.c: platform.h on Linux, for x86-64 and aarch64.
 *
 * In this file, in order: system calls by hand, memory, time, the clone, waiting on a word, the helper
 * thread, what is supported.
 *
 * System calls are made by hand, not through the C library: midden runs inside the program's own malloc
 * and free, which must not change errno; in a clone the C library's locks may be held by threads that
 * no longer exist; and the C library's wrappers are cancellation points and sanitizer interceptors. The
 * exceptions are the clocks (read without entering the kernel), sysconf, and the pthread calls that make the
 * helper thread, which only the program uses. */
#define _GNU_SOURCE
#include "platform.h"

#if !defined(PLATFORM_OTHER) && defined(__linux__) && defined(__LP64__) && \
    (defined(__x86_64__) || defined(__aarch64__))

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

#define SECOND UINT64_C(1000000000)

/* Newer than the C libraries that midden is built against; the numbers are the same on all processors. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* --- system calls by hand ------------------------------------------------------------------------- */

/* The result, or a negative errno. */
static inline int64_t system_call(long number, long a, long b, long c, long d, long e, long f)
{
#ifdef __x86_64__
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#endif
}

/* CALL(number, up to six arguments) */
#define CALL(...) CALL_FILLED(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define CALL_FILLED(number, a, b, c, d, e, f, ...) \
    system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The kernel's own set of 64 signals. The C library's calls leave its two internal signals out of it. */
static uint64_t change_signal_mask(uint64_t mask)
{
    uint64_t before = 0;
    (void)CALL(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof mask);
    return before;
}

/* --- memory --------------------------------------------------------------------------------------- */

size_t platform_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Whole pages, or 0 for nothing and for more than there is. */
static size_t whole_pages(size_t bytes)
{
    size_t mask = platform_page_bytes() - 1;
    return bytes > SIZE_MAX / 2 ? 0 : (bytes + mask) & ~mask;
}

static void *map(size_t bytes, int flags)
{
    bytes = whole_pages(bytes);
    if (bytes == 0)
        return NULL;
    flags |= MAP_ANONYMOUS | MAP_NORESERVE;
#ifdef UNDER_TSAN
    /* Its interceptors forget what it knew of earlier pages at the same address. */
    int saved = errno;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    errno = saved;
    return pages == MAP_FAILED ? NULL : pages;
#else
    int64_t pages = CALL(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return pages < 0 ? NULL : (void *)pages;
#endif
}

/* Huge pages save the faults of a large table (a tenth of the finder's time); in a small one they would be
 * mostly empty. Advice: no harm when the system has none. */
#define HUGE_FROM ((size_t)8 << 20)

static void *advise(void *pages, size_t bytes)
{
    if (pages != NULL && bytes >= HUGE_FROM)
        (void)CALL(SYS_madvise, pages, bytes, MADV_HUGEPAGE);
    return pages;
}

void *platform_map(size_t bytes)
{
    return PLATFORM_FAULT(PLATFORM_FAULT_MAP) ? NULL : advise(map(bytes, MAP_PRIVATE), whole_pages(bytes));
}

void *platform_map_shared(size_t bytes)
{
    return PLATFORM_FAULT(PLATFORM_FAULT_SHARED) ? NULL : map(bytes, MAP_SHARED);
}

void *platform_remap(void *pages, size_t old_bytes, size_t new_bytes)
{
    old_bytes = whole_pages(old_bytes);
    new_bytes = whole_pages(new_bytes);
    if (new_bytes == 0 || PLATFORM_FAULT(PLATFORM_FAULT_MAP))
        return NULL;
    int64_t moved = CALL(SYS_mremap, pages, old_bytes, new_bytes, MREMAP_MAYMOVE);
    return moved < 0 ? NULL : advise((void *)moved, new_bytes);
}

void platform_unmap(void *pages, size_t bytes)
{
    if (pages == NULL)
        return;
#ifdef UNDER_TSAN
    int saved = errno;
    (void)munmap(pages, whole_pages(bytes));
    errno = saved;
#else
    (void)CALL(SYS_munmap, pages, whole_pages(bytes));
#endif
}

void *platform_reserve(size_t bytes, size_t align)
{
    bytes = whole_pages(bytes);
    if (bytes == 0 || bytes > SIZE_MAX / 2 - align || PLATFORM_FAULT(PLATFORM_FAULT_MAP))
        return NULL;
    int64_t at =
        CALL(SYS_mmap, 0, bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at < 0)
        return NULL;
    uintptr_t start = (uintptr_t)at, aligned = (start + align - 1) & ~(align - 1),
              end = start + bytes + align;
    if (aligned != start)
        (void)CALL(SYS_munmap, start, aligned - start);
    if (aligned + bytes != end)
        (void)CALL(SYS_munmap, aligned + bytes, end - aligned - bytes);
    return (void *)aligned;
}

/* How far below the system's own mappings, which grow downwards. */
#define CLAIM_DISTANCE ((size_t)16 << 40)
#define CLAIM_TRIES 64u

void *platform_claim(size_t bytes, size_t align)
{
#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
    return NULL; /* they have plans of their own for addresses */
#endif
    size_t page = platform_page_bytes();
    bytes = whole_pages(bytes);
    if (bytes == 0 || PLATFORM_FAULT(PLATFORM_FAULT_MAP))
        return NULL;
    int64_t near = CALL(SYS_mmap, 0, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (near < 0)
        return NULL;
    (void)CALL(SYS_munmap, near, page);
    size_t place = (size_t)near, distance = CLAIM_DISTANCE;
    while (distance > place / 2) /* small address spaces */
        distance /= 4;
    place -= distance;
    for (unsigned i = 0; i < CLAIM_TRIES && place > 2 * (bytes + align); i++) {
        place = (place - bytes) & ~(align - 1);
        /* A page in front keeps others of our kind away. */
        int64_t guard = CALL(SYS_mmap, place - page, page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (guard == (int64_t)(place - page))
            return (void *)place;
        if (guard >= 0)
            (void)CALL(SYS_munmap, guard, page); /* before Linux 4.17 that was a hint */
        place -= align;
    }
    return NULL;
}

void platform_unclaim(void *pages)
{
    size_t page = platform_page_bytes();
    if (pages != NULL)
        (void)CALL(SYS_munmap, (uintptr_t)pages - page, page);
}

bool platform_take(void *pages, size_t bytes)
{
    if (PLATFORM_FAULT(PLATFORM_FAULT_COMMIT))
        return false;
    int64_t at = CALL(SYS_mmap, pages, whole_pages(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at >= 0 && at != (int64_t)pages)
        (void)CALL(SYS_munmap, at, whole_pages(bytes));
    return at == (int64_t)pages;
}

bool platform_space_limited(void)
{
    struct rlimit limit;
    return CALL(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

bool platform_commit(void *pages, size_t bytes)
{
    return !PLATFORM_FAULT(PLATFORM_FAULT_COMMIT) &&
           CALL(SYS_mprotect, pages, whole_pages(bytes), PROT_READ | PROT_WRITE) == 0;
}

bool platform_purge(void *pages, size_t bytes)
{
    return !PLATFORM_FAULT(PLATFORM_FAULT_PURGE) && CALL(SYS_madvise, pages, bytes, MADV_DONTNEED) == 0;
}

void platform_advise_huge(void *pages, size_t bytes, bool huge)
{
    (void)CALL(SYS_madvise, pages, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

bool platform_collapse(void *pages, size_t bytes)
{
    return CALL(SYS_madvise, pages, bytes, MADV_COLLAPSE) == 0;
}

/* To another place and from there on: a move that is refused half way (address space used up, memory that
 * is several mappings to a system before 6.17) has by then unmapped where it should go, unless it may go
 * anywhere. */
static int64_t move_aside(char *from, size_t bytes)
{
    return CALL(SYS_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
}

static void move_into_place(char *aside, char *to, size_t bytes)
{
    if (CALL(SYS_mremap, aside, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == (int64_t)to)
        return;
    memcpy(to, aside, bytes); /* too many mappings, which is asked first */
    (void)CALL(SYS_munmap, aside, bytes);
}

bool platform_move(void *from, void *to, size_t bytes)
{
    bytes = whole_pages(bytes);
    if (PLATFORM_FAULT(PLATFORM_FAULT_MOVE))
        return false;
    size_t at = 0, piece = bytes, page = platform_page_bytes();
    while (at < bytes) {
        int64_t aside = move_aside((char *)from + at, piece);
        if (aside == -EFAULT && piece > page) {
            piece = whole_pages(piece / 2); /* it is more than one mapping */
            continue;
        }
        if (aside < 0)
            break;
        move_into_place((char *)aside, (char *)to + at, piece);
        at += piece;
        piece = bytes - at;
    }
    if (at == 0)
        return false;
    if (at < bytes) { /* the rest */
        memcpy((char *)to + at, (char *)from + at, bytes - at);
        (void)CALL(SYS_madvise, (char *)from + at, bytes - at, MADV_DONTNEED);
    }
    return true;
}

bool platform_resident(void *pages, size_t bytes, unsigned char *each)
{
    size_t count = whole_pages(bytes) / platform_page_bytes();
    if (CALL(SYS_mincore, pages, bytes, each) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        each[i] &= 1;
    return true;
}

bool platform_same_library(uintptr_t one, uintptr_t other)
{
    Dl_info of_one, of_other;
    return dladdr((void *)one, &of_one) != 0 && dladdr((void *)other, &of_other) != 0 &&
           of_one.dli_fbase == of_other.dli_fbase;
}

bool platform_trim_malloc(void)
{
#ifdef __GLIBC__
    int saved = errno;
    bool given = malloc_trim(0) != 0;
    errno = saved;
    return given;
#else
    return false;
#endif
}

/* The first bytes of a small file, ended with 0. How many; negative when it cannot be read. */
static int64_t read_text(const char *path, char *text, size_t room)
{
    int64_t file = CALL(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return file;
    int64_t bytes = CALL(SYS_read, file, text, room - 1);
    (void)CALL(SYS_close, file);
    text[bytes > 0 ? bytes : 0] = '\0';
    return bytes;
}

static size_t number_in(const char *text)
{
    size_t number = 0;
    while (*text == ' ')
        text++;
    if (*text < '0' || *text > '9')
        return SIZE_MAX; /* "max" */
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (size_t)(*text - '0');
    return number;
}

/* Of the control group that the process is in, with version 2, or that its container is (its own root,
 * then). */
static size_t group_available(void)
{
    char text[1024], path[1100];
    const char *group = "";
    if (read_text("/proc/self/cgroup", text, sizeof text) > 0) {
        char *line = strstr(text, "0::/");
        if (line != NULL) {
            group = line + 3;
            line[3 + strcspn(line + 3, "\n")] = '\0';
        }
    }
    char figure[64];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    if (read_text(path, figure, sizeof figure) <= 0)
        return SIZE_MAX;
    size_t limit = number_in(figure);
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", group);
    if (limit == SIZE_MAX || read_text(path, figure, sizeof figure) <= 0)
        return SIZE_MAX;
    size_t used = number_in(figure);
    return used < limit ? limit - used : 0;
}

size_t platform_available_bytes(void)
{
    char text[512];
    size_t available = SIZE_MAX, group = group_available();
    if (read_text("/proc/meminfo", text, sizeof text) > 0) {
        const char *line = strstr(text, "MemAvailable:");
        if (line != NULL)
            available = number_in(line + sizeof "MemAvailable:" - 1) * 1024;
    }
    return group < available ? group : available;
}

size_t platform_resident_bytes(void)
{
    /* "total resident ...", in pages */
    char text[128];
    if (read_text("/proc/self/statm", text, sizeof text) > 0) {
        const char *at = text;
        while (*at != '\0' && *at != ' ')
            at++;
        size_t pages = 0;
        for (at += *at == ' '; *at >= '0' && *at <= '9'; at++)
            pages = pages * 10 + (size_t)(*at - '0');
        return pages * platform_page_bytes();
    }
    /* No /proc, or no descriptor left: the peak is better than nothing. */
    struct rusage usage;
    if (CALL(SYS_getrusage, RUSAGE_SELF, &usage) < 0)
        return 0;
    return (size_t)usage.ru_maxrss * 1024;
}

uint64_t platform_page_faults(void)
{
    struct rusage usage;
    return CALL(SYS_getrusage, RUSAGE_SELF, &usage) < 0 ? 0 : (uint64_t)usage.ru_minflt;
}

/* --- time ----------------------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time = {0, 0};
    (void)clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

uint64_t platform_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t platform_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
}

void platform_nap(uint64_t ns)
{
    struct timespec time = timespec_of(ns);
    (void)CALL(SYS_nanosleep, &time, 0);
}

/* --- the clone ------------------------------------------------------------------------------------ */

/* Whether this kernel (and the sandbox around us) can drop all descriptors in one call: a range in which
 * no descriptor can be is closed. CLOSE_RANGE_UNSHARE is as old as the call itself. */
static bool can_close_range(void)
{
    static _Atomic int known; /* 0: not asked yet */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = CALL(SYS_close_range, UINT_MAX, UINT_MAX, 0) == 0 ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}

/* For kernels before 5.9. pre: the table of descriptors is the clone's own copy. */
static void close_one_by_one(void)
{
    struct entry {
        uint64_t inode;
        int64_t next;
        uint16_t bytes;
        uint8_t type;
        char name[];
    };
    /* A full table would have no room for the directory. */
    for (int number = 0; number < 3; number++)
        (void)CALL(SYS_close, number);
    int64_t directory = CALL(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
    if (directory < 0) {
        struct rlimit limit = {0, 0};
        (void)CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
        for (uint64_t number = 3; number < limit.rlim_max && number < UINT64_C(1) << 20; number++)
            (void)CALL(SYS_close, number);
        return;
    }
    /* The kernel's position in this directory is a descriptor number: closing skips no entry. */
    alignas(struct entry) char entries[2048];
    int64_t bytes;
    while ((bytes = CALL(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
        for (int64_t at = 0; at < bytes;) {
            const struct entry *entry = (const struct entry *)(const void *)(entries + at);
            int64_t number = 0;
            const char *digit = entry->name;
            for (; *digit >= '0' && *digit <= '9'; digit++)
                number = number * 10 + (*digit - '0');
            if (digit != entry->name && number != directory)
                (void)CALL(SYS_close, number);
            at += entry->bytes;
        }
    }
    (void)CALL(SYS_close, directory);
}

/* Write a short text into a file of /proc; what cannot be written is left as it is. */
static void tell_kernel(const char *path, const char *text, size_t bytes)
{
    int64_t file = CALL(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        (void)CALL(SYS_write, file, text, bytes);
        (void)CALL(SYS_close, file);
    }
}

int64_t platform_clone(void)
{
    if (PLATFORM_FAULT(PLATFORM_FAULT_CLONE))
        return -EAGAIN;

    /* Sharing the table for a moment, instead of copying it, means that no descriptor of the program gets a
     * second holder: a pipe that the program closes is closed. The first thing that the clone
     * does is to leave the shared table for an empty one. */
    bool in_one_call = can_close_range();
    uint64_t mask = change_signal_mask(UINT64_MAX);
    int64_t pid = CALL(SYS_clone, in_one_call ? CLONE_FILES : 0, 0, 0, 0, 0);
    if (pid != 0) {
        (void)change_signal_mask(mask);
        return pid;
    }

    if (!in_one_call)
        close_one_by_one();
    else if (CALL(SYS_close_range, 0, UINT_MAX, CLOSE_RANGE_UNSHARE) < 0)
        platform_clone_exit(1); /* no memory for a table: going on would share the program's */
    tell_kernel("/proc/self/oom_score_adj", "1000", 4);
    /* Nobody wants a second dump of a heap; it would be as big as the program. Comes last, because it
     * takes the files in /proc away from the user. In a program that is undumpable itself the score stays
     * as it is: making the clone dumpable, even for a moment, would open the program's secrets. */
    (void)CALL(SYS_prctl, PR_SET_DUMPABLE, 0);
    (void)CALL(SYS_prctl, PR_SET_NAME, "midden-snapshot");
    return 0;
}

_Noreturn void platform_clone_exit(int status)
{
    for (;;)
        (void)CALL(SYS_exit_group, status);
}

/* Asked again and again, because PR_SET_PDEATHSIG would fire when the launching thread ends. */
bool platform_program_lives(int64_t program)
{
    return CALL(SYS_getppid) == program;
}

void platform_clone_limit_cpu(uint64_t ns)
{
    uint64_t used = platform_cpu_ns();
    uint64_t seconds = (ns < UINT64_MAX - used ? used + ns : UINT64_MAX) / SECOND + 1;
    struct rlimit limit;
    if (CALL(SYS_prlimit64, 0, RLIMIT_CPU, 0, &limit) < 0)
        return;
    if (limit.rlim_max > seconds) /* RLIM_INFINITY is the largest number */
        limit.rlim_max = seconds;
    limit.rlim_cur = limit.rlim_max; /* the soft limit's signal is blocked, the hard one kills */
    (void)CALL(SYS_prlimit64, 0, RLIMIT_CPU, &limit, 0);
}

int64_t platform_process_id(void)
{
    return CALL(SYS_getpid);
}

void platform_kill(int64_t pid)
{
    if (pid > 1)
        (void)CALL(SYS_kill, pid, SIGKILL);
}

enum platform_reaped platform_reap(int64_t pid, bool wait, int *status, uint64_t *cpu_ns)
{
    struct rusage usage;
    int raw = 0;
    int64_t got;
    if (pid <= 0)
        return PLATFORM_GONE; /* to wait4 it would mean a whole group of children */
    /* Without __WALL, children with another exit signal than SIGCHLD are not seen: that is how the
     * program's own wait() passes the clone by. */
    do
        got = CALL(SYS_wait4, pid, &raw, __WALL | (wait ? 0 : WNOHANG), &usage);
    while (got == -EINTR);
    if (got == 0)
        return PLATFORM_RUNNING;
    if (got != pid)
        return PLATFORM_GONE;
    if (cpu_ns != NULL)
        *cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    *status = WIFSIGNALED(raw) ? WTERMSIG(raw) : WEXITSTATUS(raw);
    return WIFSIGNALED(raw) ? PLATFORM_KILLED : PLATFORM_ENDED;
}

/* --- waiting on a word ---------------------------------------------------------------------------- */

/* Not FUTEX_PRIVATE: the other side may be another process. */

void platform_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    struct timespec time = timespec_of(ns);
    (void)CALL(SYS_futex, word, FUTEX_WAIT, value, ns == UINT64_MAX ? NULL : &time);
}

void platform_wake(_Atomic uint32_t *word)
{
    (void)CALL(SYS_futex, word, FUTEX_WAKE, INT_MAX);
}

/* --- the helper thread ---------------------------------------------------------------------------- */

#define THREAD_STACK ((size_t)256 << 10) /* the C library puts thread-local variables there, too */

static void *thread_main(void *arg)
{
    struct platform_thread *thread = arg;
    atomic_store_explicit(&thread->id, CALL(SYS_gettid), memory_order_release);
    thread->run(thread->arg);
    return NULL;
}

int platform_thread_start(struct platform_thread *thread, void (*run)(void *arg), void *arg)
{
    if (PLATFORM_FAULT(PLATFORM_FAULT_THREAD))
        return -EAGAIN;
    thread->run = run;
    thread->arg = arg;
    thread->handle = 0;
    atomic_store_explicit(&thread->id, 0, memory_order_relaxed);

    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return -error;
    (void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
    /* The C library's set, which leaves its own two signals open: setuid() in a program with threads
     * waits until every thread has answered one of them. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t handle;
    error = pthread_create(&handle, &attributes, thread_main, thread);
    if (error == EINVAL) /* more thread-local variables than that stack can hold */
        error = pthread_create(&handle, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (error != 0)
        return -error;
    thread->handle = (uintptr_t)handle;
    return 0;
}

void platform_thread_join(struct platform_thread *thread)
{
    (void)pthread_join((pthread_t)thread->handle, NULL);
    /* pthread_join returns when the thread gives its stack back, which is before the kernel has taken it off
     * the books. A debugger may hold it there: then one second has to do. */
    int64_t id = atomic_load_explicit(&thread->id, memory_order_acquire);
    int64_t program = platform_process_id();
    uint64_t give_up = platform_now_ns() + SECOND;
    while (CALL(SYS_tgkill, program, id, 0) == 0 && platform_now_ns() < give_up)
        (void)CALL(SYS_sched_yield);
}

bool platform_thread_lives(int64_t process, int64_t id)
{
    /* A refusal means that it is there: the program may have changed its user. */
    return CALL(SYS_tgkill, process, id, 0) != -ESRCH;
}

/* --- what this machine supports ------------------------------------------------------------------- */

const char *platform_unsupported(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_POPCNT))
        return "the processor has no popcnt";
#endif
    return NULL;
}

#endif

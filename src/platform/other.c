/* other.c: platform.h on systems that midden does not work on: everything refuses, and
 * platform_unsupported says why. Everything that includes platform.h builds and links there all the same.
 *
 * A build with -DPLATFORM_OTHER takes this file in place of linux.c, so that a test on Linux can show that
 * the folders above cope with refusals. C library only. */
#include "platform.h"

#if defined(PLATFORM_OTHER) || !defined(__linux__) || !defined(__LP64__) || \
    !(defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* --- memory --------------------------------------------------------------------------------------- */

size_t platform_page_bytes(void)
{
    return 4096;
}

void *platform_map(size_t bytes)
{
    (void)bytes;
    return NULL;
}

void *platform_remap(void *pages, size_t old_bytes, size_t new_bytes)
{
    (void)pages, (void)old_bytes, (void)new_bytes;
    return NULL;
}

void *platform_map_shared(size_t bytes)
{
    (void)bytes;
    return NULL;
}

void platform_unmap(void *pages, size_t bytes)
{
    (void)pages, (void)bytes;
}

void *platform_reserve(size_t bytes, size_t align)
{
    (void)bytes, (void)align;
    return NULL;
}

void *platform_claim(size_t bytes, size_t align)
{
    (void)bytes, (void)align;
    return NULL;
}

void platform_unclaim(void *pages)
{
    (void)pages;
}

bool platform_take(void *pages, size_t bytes)
{
    (void)pages, (void)bytes;
    return false;
}

bool platform_space_limited(void)
{
    return false;
}

bool platform_commit(void *pages, size_t bytes)
{
    (void)pages, (void)bytes;
    return false;
}

bool platform_purge(void *pages, size_t bytes)
{
    (void)pages, (void)bytes;
    return false;
}

void platform_advise_huge(void *pages, size_t bytes, bool huge)
{
    (void)pages, (void)bytes, (void)huge;
}

bool platform_collapse(void *pages, size_t bytes)
{
    (void)pages, (void)bytes;
    return false;
}

bool platform_move(void *from, void *to, size_t bytes)
{
    (void)from, (void)to, (void)bytes;
    return false;
}

bool platform_resident(void *pages, size_t bytes, unsigned char *each)
{
    (void)pages, (void)bytes, (void)each;
    return false;
}

bool platform_same_library(uintptr_t one, uintptr_t other)
{
    (void)one, (void)other;
    return false;
}

bool platform_trim_malloc(void)
{
    return false;
}

size_t platform_available_bytes(void)
{
    return SIZE_MAX;
}

uint64_t platform_page_faults(void)
{
    return 0;
}

size_t platform_resident_bytes(void)
{
    return 0;
}

/* --- time ----------------------------------------------------------------------------------------- */

/* The best that C has; it jumps when the clock is set, but nothing here is ever in flight. */
uint64_t platform_now_ns(void)
{
    struct timespec time;
    if (timespec_get(&time, TIME_UTC) == 0)
        return 0;
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

uint64_t platform_cpu_ns(void)
{
    return (uint64_t)((double)clock() * 1e9 / CLOCKS_PER_SEC);
}

void platform_nap(uint64_t ns)
{
    (void)ns;
}

/* --- the clone ------------------------------------------------------------------------------------ */

int64_t platform_clone(void)
{
    return -ENOSYS;
}

_Noreturn void platform_clone_exit(int status)
{
    _Exit(status); /* never called: there are no clones */
}

bool platform_program_lives(int64_t program)
{
    (void)program;
    return true;
}

void platform_clone_limit_cpu(uint64_t ns)
{
    (void)ns;
}

int64_t platform_process_id(void)
{
    return 0;
}

void platform_kill(int64_t pid)
{
    (void)pid;
}

enum platform_reaped platform_reap(int64_t pid, bool wait, int *status, uint64_t *cpu_ns)
{
    (void)pid, (void)wait, (void)status, (void)cpu_ns;
    return PLATFORM_GONE;
}

/* --- waiting on a word, the helper thread --------------------------------------------------------- */

void platform_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    (void)word, (void)value, (void)ns;
}

void platform_wake(_Atomic uint32_t *word)
{
    (void)word;
}

int platform_thread_start(struct platform_thread *thread, void (*run)(void *arg), void *arg)
{
    (void)thread, (void)run, (void)arg;
    return -ENOSYS;
}

void platform_thread_join(struct platform_thread *thread)
{
    (void)thread;
}

bool platform_thread_lives(int64_t process, int64_t id)
{
    (void)process, (void)id;
    return false;
}

/* --- what this machine supports ------------------------------------------------------------------- */

const char *platform_unsupported(void)
{
#if defined(__linux__) && !defined(PLATFORM_OTHER)
    return "the processor is neither x86-64 nor aarch64";
#else
    return "this is not Linux";
#endif
}

#endif

/* platform.h: every system call that midden makes; one .c file per system.
 *
 * Invariant: a function here does one thing of the system, allocates nothing from the C library,
 * takes no lock, and may be called in a clone (see platform_clone) unless its line says "program only".
 * Each contract says what must hold before (pre:) and what a failure returns. Nothing aborts.
 *
 * Fault injection: a build with -Dfaults=true reads MIDDEN_FAULT at platform_faults_load(): a list
 * "NAME=N[,NAME=N...]" with the names of enum platform_fault in lower case; the N-th call (from 1) of
 * that kind fails, "NAME=*" makes every one fail. Without the option PLATFORM_FAULT() is constant 0. */
#ifndef MIDDEN_PLATFORM_H
#define MIDDEN_PLATFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- memory; bytes are rounded up to whole pages -------------------------------------------------- */

size_t platform_page_bytes(void);

/* Private zeroed pages, not reserved in advance, huge ones from 8 MiB on where there are any. NULL when
 * refused. */
void *platform_map(size_t bytes);
/* Grow or shrink a mapping from platform_map, keeping its content; it may move. NULL when refused, and
 * then the old mapping is as it was. What is new reads as zero. pre: pages, old_bytes as mapped. */
void *platform_remap(void *pages, size_t old_bytes, size_t new_bytes);
/* Zeroed pages that a later clone shares with the program, not reserved in advance. NULL when refused. */
void *platform_map_shared(size_t bytes);
/* pre: pages came from one of the above, with these bytes. NULL is allowed and does nothing. */
void platform_unmap(void *pages, size_t bytes);

/* Address space without memory: touching it is an error until platform_commit. Aligned to `align`, a power
 * of two of pages. NULL when refused. Freed by platform_unmap. */
void *platform_reserve(size_t bytes, size_t align);
/* Address space that is not even reserved, so that no limit counts it: a place far from where the system maps what
 * others ask for. Aligned as above. NULL when there is none. Its pages are taken by platform_take; freed by platform_unclaim,
 * after what was taken was unmapped. */
void *platform_claim(size_t bytes, size_t align);
void platform_unclaim(void *pages);
/* Make claimed pages usable; they read as zero. False when refused, or when somebody else has come to lie there. */
bool platform_take(void *pages, size_t bytes);
/* Whether the address space of the process is limited (ulimit -v). */
bool platform_space_limited(void);
/* Make reserved pages usable; they read as zero. False when refused. pre: whole pages of one reservation. */
bool platform_commit(void *pages, size_t bytes);
/* Give the memory of whole pages back; they read as zero afterwards. False when refused (locked memory). */
bool platform_purge(void *pages, size_t bytes);
/* Ask for huge pages, or for none: advice, which the system may not follow. pre: committed. */
void platform_advise_huge(void *pages, size_t bytes, bool huge);
/* Make a huge page of each 2 MiB now, copying what is there; whether it did. */
bool platform_collapse(void *pages, size_t bytes);
/* Move the memory of whole pages to other committed pages of the same length, without copying where the
 * system can; the old ones read as zero afterwards. False: it cannot at all, and nothing has changed. */
bool platform_move(void *from, void *to, size_t bytes);
/* For each page, whether it holds memory: 1 or 0. False when the system does not tell. */
bool platform_resident(void *pages, size_t bytes, unsigned char *each);
/* Do two addresses of code lie in the same program or library? Program only. */
bool platform_same_library(uintptr_t one, uintptr_t other);
/* Let the C library give back what its own heap can spare. Returns whether it gave any. Program only. */
bool platform_trim_malloc(void);
/* Bytes that this process could still get before the system, or its control group, is out of memory;
 * SIZE_MAX when nobody tells. Reads files: not for hot paths. Program only. */
size_t platform_available_bytes(void);

/* Resident bytes of this process, from the system's own books; 0 when it does not tell. Program only. */
size_t platform_resident_bytes(void);

/* Page faults of this process so far that needed no disk: a copied page is one. Program only. */
uint64_t platform_page_faults(void);

/* --- time, in nanoseconds ------------------------------------------------------------------------- */

uint64_t platform_now_ns(void); /* monotonic, of no particular epoch */
uint64_t platform_cpu_ns(void); /* CPU time of the calling process, all its threads */
void platform_nap(uint64_t ns); /* sleep about that long; a signal may end it early */

/* --- the clone ------------------------------------------------------------------------------------ */

/* Start a copy-on-write clone of the calling process that runs only the calling thread.
 * Returns 0 in the clone, its process id (> 0) in the program, or a negative errno when refused.
 * The clone has: exit signal 0 (the program's wait() and SIGCHLD never see it), all signals blocked, no
 * descriptors at all (where the kernel has CLOSE_RANGE_UNSHARE none are held open, except inside the one
 * call that drops them), no core dump, and is the OOM killer's first choice (not where the program
 * is undumpable, as after giving up root: its /proc is root's). atfork handlers do not run. The program's
 * signal mask is as before. The clone must end in platform_clone_exit(). */
int64_t platform_clone(void);
/* End the clone at once, running nothing. pre: called in a clone. */
_Noreturn void platform_clone_exit(int status);
/* Whether the program that made this clone still lives. pre: called in a clone; program is its pid. */
bool platform_program_lives(int64_t program);
/* The most CPU time that the clone may use before the kernel ends it (a second net under time-outs). */
void platform_clone_limit_cpu(uint64_t ns);

int64_t platform_process_id(void);
/* SIGKILL a clone. pre: pid came from platform_clone and was not reaped. Program only. */
void platform_kill(int64_t pid);
enum platform_reaped {
    PLATFORM_RUNNING, /* not ended yet (only without wait) */
    PLATFORM_ENDED,   /* ended by itself; *status is what it gave to platform_clone_exit */
    PLATFORM_KILLED,  /* ended by a signal; *status is the signal */
    PLATFORM_GONE     /* somebody else reaped it, or it is not ours (after a fork) */
};
/* Collect an ended clone. wait: block until it ends. cpu_ns (may be NULL) gets its CPU time. Program only. */
enum platform_reaped platform_reap(int64_t pid, bool wait, int *status, uint64_t *cpu_ns);

/* --- waiting on a word, across processes when the word lies in shared pages --------------------- */

/* Sleep until woken, while *word == value, at most ns (UINT64_MAX: no limit). May return early. */
void platform_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns);
void platform_wake(_Atomic uint32_t *word); /* wakes all */

/* --- the helper thread (program only) ----------------------------------------------------------- */

struct platform_thread {
    uintptr_t handle;   /* the system's own */
    _Atomic int64_t id; /* the kernel's thread id; 0 until it runs */
    void (*run)(void *arg);
    void *arg;
};
/* Start a thread with all signals blocked and a small stack. 0, or a negative errno. */
int platform_thread_start(struct platform_thread *thread, void (*run)(void *arg), void *arg);
/* Wait until it has ended and the kernel no longer counts it as a thread of the process (CPython warns
 * about fork() in a process that has more than one). pre: started, not joined, run() is about to return. */
void platform_thread_join(struct platform_thread *thread);
/* Whether the process has a thread with that kernel id. */
bool platform_thread_lives(int64_t process, int64_t id);

/* --- what this machine supports ----------------------------------------------------------------- */

/* NULL, or one lower-case phrase saying why midden cannot work here ("this is not Linux",
 * "the processor has no popcnt"). */
const char *platform_unsupported(void);

/* --- faults ------------------------------------------------------------------------------------- */

enum platform_fault {
    PLATFORM_FAULT_MAP,
    PLATFORM_FAULT_SHARED,
    PLATFORM_FAULT_CLONE,
    PLATFORM_FAULT_THREAD,
    PLATFORM_FAULT_COMMIT,
    PLATFORM_FAULT_PURGE,
    PLATFORM_FAULT_MOVE,
    /* in the clone, at the stage of that number (snapshot.h): die of SIGKILL, or never go on */
    PLATFORM_FAULT_KILL,
    PLATFORM_FAULT_HANG,
    PLATFORM_FAULTS
};
#ifdef MIDDEN_FAULTS
void platform_faults_load(const char *text);   /* NULL or "": none */
bool platform_fault(enum platform_fault kind); /* counts one call of that kind; should it fail? */
/* For KILL and HANG the number is a stage, not a count: acts when stage is the one asked for. */
void platform_fault_at(uint32_t stage);
#define PLATFORM_FAULT(kind) platform_fault(kind)
#else
static inline void platform_faults_load(const char *text)
{
    (void)text;
}
static inline void platform_fault_at(uint32_t stage)
{
    (void)stage;
}
#define PLATFORM_FAULT(kind) 0
#endif

#endif

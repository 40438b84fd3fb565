/* snapshot.c: launch a job in a clone, see how it stands, take its answer, let it go (see snapshot.h).
 *
 * What takes time is the end of a clone: the kernel has a copy of the whole address space to
 * take down, milliseconds for gigabytes. So the program never waits for it. A clone that is
 * no longer needed is killed, and its number goes to the list `ending`, from where it is reaped in passing,
 * by whichever snapshot comes by next. */
#include "snapshot.h"

#include "../platform/platform.h"

#include <errno.h>

#define MILLISECOND UINT64_C(1000000)
#define LOOK_NS (10 * MILLISECOND) /* how often poll looks for the death of the clone */
#define NAP_NS (50 * MILLISECOND)  /* the longest sleep of snapshot_wait */

/* In a clone: the process that launched it. 0 in the program, where a job may also be run in place; it
 * then has nobody to outlive and no faults to suffer. */
static int64_t launched_by;

const char *snapshot_failure_name(enum snapshot_failure failure)
{
    switch (failure) {
    case SNAPSHOT_NO_FAILURE: return "no failure";
    case SNAPSHOT_REFUSED_MEMORY: return "memory refused";
    case SNAPSHOT_REFUSED_CLONE: return "clone refused";
    case SNAPSHOT_DIED: return "clone died";
    case SNAPSHOT_TIMED_OUT: return "timed out";
    case SNAPSHOT_JOB_FAILED: return "job failed";
    }
    return "unknown failure";
}

/* --- clones that were killed and are still to be reaped ----------------------------------------- */

#define ENDING_MOST 16

/* The launching process in the upper half, the clone in the lower, 0 when free. Shared by all snapshots of
 * the process, whatever lock each is under, so a thread takes an entry out before it looks at it. The
 * upper half keeps a forked child from reaping a child of its own that has an old clone's number. */
static _Atomic uint64_t ending[ENDING_MOST];

/* pre: the clone was killed. Waits for its end only when the list is full. */
static void reap_later(int64_t pid)
{
    uint64_t entry = (uint64_t)platform_process_id() << 32 | (uint64_t)pid;
    for (size_t at = 0; at < ENDING_MOST; at++) {
        uint64_t nothing = 0;
        if (atomic_compare_exchange_strong(&ending[at], &nothing, entry))
            return;
    }
    int status;
    (void)platform_reap(pid, true, &status, NULL);
}

static void reap(bool wait)
{
    for (size_t at = 0; at < ENDING_MOST; at++) {
        if (atomic_load_explicit(&ending[at], memory_order_relaxed) == 0)
            continue;
        uint64_t entry = atomic_exchange(&ending[at], 0);
        if (entry == 0 || entry >> 32 != (uint64_t)platform_process_id())
            continue;
        int64_t pid = (int64_t)(uint32_t)entry;
        int status;
        if (platform_reap(pid, wait, &status, NULL) == PLATFORM_RUNNING)
            reap_later(pid);
    }
}

static void reap_what_ended(void)
{
    reap(false);
}

void snapshot_settle(void)
{
    reap(true);
}

/* --- in the clone ------------------------------------------------------------------------------- */

static void advance(struct snapshot_answer *answer, enum snapshot_stage stage)
{
    /* At every stage, so that the cost of a clone that dies is not lost altogether. */
    if (launched_by != 0)
        answer->cpu_ns = platform_cpu_ns();
    atomic_store_explicit(&answer->stage, (uint32_t)stage, memory_order_release);
    snapshot_ring(answer);
    if (launched_by != 0)
        platform_fault_at((uint32_t)stage);
}

void snapshot_stage(struct snapshot_answer *answer, enum snapshot_stage stage)
{
    if (stage < SNAPSHOT_STAGE_DONE) /* the end is not for the job to tell */
        advance(answer, stage);
}

int snapshot_proceed(struct snapshot_answer *answer)
{
    if (launched_by == 0)
        return 0;
    if (!platform_program_lives(launched_by))
        return 1;
    int64_t watcher = atomic_load(&answer->watcher);
    if (watcher == 0 || platform_thread_lives(launched_by, watcher))
        return 0;
    /* It is gone. If it has ended properly it has said so before, perhaps since the word was read. */
    return atomic_load(&answer->watcher) == watcher;
}

_Noreturn static void run_in_clone(struct snapshot_answer *answer, snapshot_job *job, void *arg,
                                   int64_t program, uint64_t timeout_ns)
{
    launched_by = program;
    /* One thread uses no more CPU time than goes by: this is for a program that no longer polls. */
    platform_clone_limit_cpu(timeout_ns);
    advance(answer, SNAPSHOT_STAGE_STARTED);
    answer->job_status = job(answer, arg);
    advance(answer, SNAPSHOT_STAGE_DONE);
    platform_clone_exit(0);
}

/* --- in the program ----------------------------------------------------------------------------- */

static enum snapshot_state fail(struct snapshot *snapshot, enum snapshot_failure failure, int error)
{
    snapshot->failure = failure;
    snapshot->error = error;
    return snapshot->state = SNAPSHOT_FAILED;
}

/* An answer with the most words that the system gives: room, halved down to least. NULL when refused. */
static struct snapshot_answer *map_answer(size_t room, size_t least, size_t *bytes)
{
    const size_t most = (SIZE_MAX / 2 - sizeof(struct snapshot_answer)) / sizeof(uint64_t);
    if (room < least)
        room = least;
    for (;;) {
        if (room <= most) {
            *bytes = sizeof(struct snapshot_answer) + room * sizeof(uint64_t);
            struct snapshot_answer *answer = platform_map_shared(*bytes);
            if (answer != NULL) {
                answer->room = room;
                return answer;
            }
        }
        if (room <= least)
            return NULL;
        room = room / 2 < least ? least : room / 2;
    }
}

enum snapshot_state snapshot_launch(struct snapshot *snapshot, snapshot_job *job, void *arg, size_t room,
                                    size_t least, uint64_t timeout_ns)
{
    if (snapshot->state != SNAPSHOT_IDLE)
        return snapshot->state;
    reap_what_ended();

    *snapshot = (struct snapshot){.program = platform_process_id()};
    snapshot->launched_ns = platform_now_ns();
    snapshot->looked_ns = snapshot->launched_ns;
    snapshot->deadline_ns =
        timeout_ns < UINT64_MAX - snapshot->launched_ns ? snapshot->launched_ns + timeout_ns : UINT64_MAX;
    snapshot->answer = map_answer(room, least, &snapshot->answer_bytes);
    if (snapshot->answer == NULL)
        return fail(snapshot, SNAPSHOT_REFUSED_MEMORY, ENOMEM);

    uint64_t before = platform_now_ns();
    int64_t pid = platform_clone();
    if (pid == 0)
        run_in_clone(snapshot->answer, job, arg, snapshot->program, timeout_ns);
    snapshot->clone_ns = platform_now_ns() - before;
    if (pid < 0) {
        platform_unmap(snapshot->answer, snapshot->answer_bytes);
        snapshot->answer = NULL;
        return fail(snapshot, SNAPSHOT_REFUSED_CLONE, (int)-pid);
    }
    snapshot->pid = pid;
    return snapshot->state = SNAPSHOT_FLYING;
}

/* Whether the clone is this process's, and not that of a parent which forked with a snapshot in flight. */
static bool is_ours(const struct snapshot *snapshot)
{
    return snapshot->program == platform_process_id();
}

static bool is_done(const struct snapshot *snapshot)
{
    return atomic_load_explicit(&snapshot->answer->stage, memory_order_acquire) == SNAPSHOT_STAGE_DONE;
}

/* Reap the clone if it has ended. pre: ours. */
static enum platform_reaped look(struct snapshot *snapshot, int *status)
{
    uint64_t cpu_ns = 0;
    enum platform_reaped how = platform_reap(snapshot->pid, false, status, &cpu_ns);
    if (how != PLATFORM_RUNNING)
        snapshot->pid = 0;
    if (cpu_ns > snapshot->cpu_ns)
        snapshot->cpu_ns = cpu_ns;
    return how;
}

static enum snapshot_state settle(struct snapshot *snapshot)
{
    const struct snapshot_answer *answer = snapshot->answer;
    size_t room = (snapshot->answer_bytes - sizeof *answer) / sizeof(uint64_t);
    snapshot->cpu_ns = answer->cpu_ns;
    if (answer->job_status != 0)
        return fail(snapshot, SNAPSHOT_JOB_FAILED, answer->job_status);
    if (answer->count > room) /* the job wrote past its room: nothing it says is to be read */
        return fail(snapshot, SNAPSHOT_JOB_FAILED, EOVERFLOW);
    return snapshot->state = SNAPSHOT_ANSWERED;
}

/* It has ended, or was taken, or is not ours. The clone's last words may have come just before. */
static enum snapshot_state poll_ended(struct snapshot *snapshot, int error)
{
    if (is_done(snapshot))
        return settle(snapshot);
    if (snapshot->cpu_ns < snapshot->answer->cpu_ns)
        snapshot->cpu_ns = snapshot->answer->cpu_ns;
    return fail(snapshot, SNAPSHOT_DIED, error);
}

enum snapshot_state snapshot_poll(struct snapshot *snapshot)
{
    if (snapshot->state == SNAPSHOT_IDLE)
        return SNAPSHOT_IDLE;
    bool flying = snapshot->state == SNAPSHOT_FLYING;
    bool done = flying && is_done(snapshot);
    uint64_t now = platform_now_ns();
    bool late = flying && now >= snapshot->deadline_ns;
    if (!done && !late && now - snapshot->looked_ns < LOOK_NS)
        return snapshot->state;
    snapshot->looked_ns = now;

    if (!is_ours(snapshot)) {
        snapshot->pid = 0;
        return flying ? fail(snapshot, SNAPSHOT_DIED, ECHILD) : snapshot->state;
    }
    reap_what_ended();
    if (done)
        return settle(snapshot); /* it is about to exit: a later poll reaps it, or release */
    if (snapshot->pid == 0)
        return snapshot->state;

    int status = 0;
    enum platform_reaped how = look(snapshot, &status);
    if (!flying)
        return snapshot->state;
    if (how != PLATFORM_RUNNING)
        return poll_ended(snapshot, how == PLATFORM_GONE ? ECHILD : status);
    if (is_done(snapshot))
        return settle(snapshot);
    if (!late)
        return SNAPSHOT_FLYING;
    platform_kill(snapshot->pid);
    snapshot->cpu_ns = snapshot->answer->cpu_ns; /* until it is reaped */
    return fail(snapshot, SNAPSHOT_TIMED_OUT, 0);
}

uint32_t snapshot_bell(const struct snapshot_answer *answer)
{
    return atomic_load_explicit(&answer->bell, memory_order_acquire);
}

void snapshot_wait(struct snapshot_answer *answer, uint32_t bell, uint64_t ns)
{
    platform_wait(&answer->bell, bell, ns < NAP_NS ? ns : NAP_NS);
}

void snapshot_ring(struct snapshot_answer *answer)
{
    atomic_fetch_add(&answer->bell, 1);
    platform_wake(&answer->bell);
}

void snapshot_watch(struct snapshot_answer *answer, const struct platform_thread *thread)
{
    atomic_store(&answer->watcher, thread != NULL ? atomic_load(&thread->id) : 0);
}

void snapshot_forget(struct snapshot *snapshot)
{
    platform_unmap(snapshot->answer, snapshot->answer_bytes); /* this process's view of it */
    *snapshot = (struct snapshot){.state = SNAPSHOT_IDLE};
}

void snapshot_release(struct snapshot *snapshot)
{
    int status;
    /* Looked at before it is killed: when somebody else has reaped it, the number may be another's. */
    if (snapshot->pid != 0 && is_ours(snapshot) && look(snapshot, &status) == PLATFORM_RUNNING) {
        platform_kill(snapshot->pid);
        reap_later(snapshot->pid);
    }
    snapshot_forget(snapshot);
    reap_what_ended();
}

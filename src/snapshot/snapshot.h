/* snapshot.h: clone the process, run a job in the clone, bring its answer back; survive its death.
 *
 * Invariant: the program never depends on the clone. Whatever happens to it (refused, killed, hanging,
 * its pages refused) the program sees SNAPSHOT_FAILED with a reason and goes on. The clone writes
 * only into its own copy of memory and into the answer, which is shared.
 *
 * States of a struct snapshot, all changes made by the program:
 *   IDLE --launch--> FLYING --poll--> ANSWERED --release--> IDLE
 *                      \--poll--> FAILED --release--> IDLE
 * "poll" sees the clone's own progress; "release" may be called in any state (it kills a flying clone).
 *
 * Threads: a snapshot belongs to whoever holds the host's lock (under CPython the GIL), except for
 * the waiting and the words of the answer, which any thread may use. After fork() the child calls
 * snapshot_forget: the clone is not its child. */
#ifndef MIDDEN_SNAPSHOT_H
#define MIDDEN_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct platform_thread;

enum snapshot_stage { /* how far the clone has come; also the numbers for fault injection */
                      SNAPSHOT_STAGE_NONE, /* not running yet */
                      SNAPSHOT_STAGE_STARTED,
                      SNAPSHOT_STAGE_LISTED,  /* the job says: the set is known */
                      SNAPSHOT_STAGE_FOUND,   /* the job says: the garbage is known */
                      SNAPSHOT_STAGE_WRITTEN, /* the job says: the answer is written */
                      SNAPSHOT_STAGE_DONE     /* the answer is complete; nothing is written after */
};

enum snapshot_failure {
    SNAPSHOT_NO_FAILURE,
    SNAPSHOT_REFUSED_MEMORY, /* no shared pages for the answer */
    SNAPSHOT_REFUSED_CLONE,
    SNAPSHOT_DIED, /* killed, crashed, or ended without an answer */
    SNAPSHOT_TIMED_OUT,
    SNAPSHOT_JOB_FAILED /* the job returned non-zero (see error), or wrote past its room */
};
const char *snapshot_failure_name(enum snapshot_failure failure);

#define SNAPSHOT_FIGURES 16

/* Shared by the clone and the program. The job fills figures, count and words. */
struct snapshot_answer {
    _Atomic uint32_t stage;             /* enum snapshot_stage */
    _Atomic uint32_t bell;              /* rung at each stage and by snapshot_ring; waited on */
    _Atomic int64_t watcher;            /* a thread of the program that lives while it does; 0: none */
    int32_t job_status;                 /* what the job returned */
    _Atomic uint64_t cpu_ns;            /* CPU time the clone used, written at each stage */
    uint64_t figures[SNAPSHOT_FIGURES]; /* the job's, any meaning */
    size_t room;                        /* words there is room for */
    size_t count;                       /* words written */
    uint64_t words[];
};

/* Runs in the clone. Returns 0, or a status that the program will see as job_status. It must not use the
 * C library's allocator, stdio or locks, and must poll snapshot_proceed now and then. */
typedef int snapshot_job(struct snapshot_answer *answer, void *arg);

enum snapshot_state { SNAPSHOT_IDLE, SNAPSHOT_FLYING, SNAPSHOT_ANSWERED, SNAPSHOT_FAILED };

struct snapshot {
    enum snapshot_state state;
    enum snapshot_failure failure;
    int error;                      /* errno of a refusal; signal or status of a death; job_status */
    int64_t pid;                    /* the clone, until it is reaped; else 0 */
    int64_t program;                /* the process that launched it */
    struct snapshot_answer *answer; /* NULL when IDLE */
    size_t answer_bytes;
    uint64_t launched_ns, deadline_ns; /* platform_now_ns */
    uint64_t looked_ns;                /* when poll last looked for the death of the clone */
    uint64_t clone_ns;                 /* how long the program stood still in the clone call */
    uint64_t cpu_ns;                   /* CPU time of the clone, known once it ended */
};

/* Map an answer with room for that many words (less, by halves down to least, when pages are refused),
 * clone, and run job(answer, arg) in the clone. On failure the state is FAILED.
 * pre: IDLE; timeout_ns > 0. Never returns in the clone. */
enum snapshot_state snapshot_launch(struct snapshot *snapshot, snapshot_job *job, void *arg, size_t room,
                                    size_t least, uint64_t timeout_ns);
/* Look how it stands, without blocking: cheap while FLYING (one shared word; the process table only
 * every 10 ms). Kills the clone when its time is over. */
enum snapshot_state snapshot_poll(struct snapshot *snapshot);
/* Waiting without missing anything: read the bell, then look at what you wait for, then sleep until the bell
 * is rung again (it rings at every stage), at most ns and at most 50 ms (a clone that died rings no more).
 * Any thread, no lock held. The answer may be unmapped meanwhile: the wait then returns. */
uint32_t snapshot_bell(const struct snapshot_answer *answer);
void snapshot_wait(struct snapshot_answer *answer, uint32_t bell, uint64_t ns);
void snapshot_ring(struct snapshot_answer *answer);
/* Tell the clone of a thread that lives as long as the program is the same: exec() ends it, and so the clone
 * learns of an exec, after which the process id is still the same. NULL: no such thread any more. */
void snapshot_watch(struct snapshot_answer *answer, const struct platform_thread *thread);
/* Back to IDLE from any state: kills the clone if need be, unmaps the answer. Does not wait for the clone's
 * end: it is reaped by a later launch, poll or release of any snapshot. */
void snapshot_release(struct snapshot *snapshot);
/* Wait until every clone that was let go has ended (milliseconds for gigabytes), and leave no zombie. */
void snapshot_settle(void);
/* In a forked child: back to IDLE without touching the clone, which is the parent's. */
void snapshot_forget(struct snapshot *snapshot);

/* Both may also be called outside a clone, by a job that is run in place on an answer of the caller's:
 * there faults do not act, and snapshot_proceed is always 0. */
/* For the job: tell the stage; fault injection acts here. */
void snapshot_stage(struct snapshot_answer *answer, enum snapshot_stage stage);
/* For the job: 0 while the program lives, non-zero when it does not (then return at once). */
int snapshot_proceed(struct snapshot_answer *answer);

#endif

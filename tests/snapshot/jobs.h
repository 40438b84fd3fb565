/* jobs.h: a job for the tests of snapshot/ that does what it is told, step by step, and what the tests
 * of snapshot/ otherwise share. */
#ifndef MIDDEN_TESTS_JOBS_H
#define MIDDEN_TESTS_JOBS_H

#include "../platform/processes.h"

#include "../../src/snapshot/snapshot.h"

#include <sys/mman.h>
#include <time.h>

/* Shared with the clone. */
struct orders {
    _Atomic uint32_t go; /* the job stays at stage `stop` until this is set */
    uint32_t stop;       /* enum snapshot_stage; 0: nowhere */
    size_t words;        /* how many to write */
    int status;          /* what to return */
    bool crash;          /* at stage `stop` */
    bool deaf;           /* at stage `stop`: do not even ask whether the program lives */
};

static inline struct orders *new_orders(void)
{
    void *pages =
        mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    return pages;
}

static inline void end_orders(struct orders *orders)
{
    munmap(orders, sizeof *orders);
}

static inline int stay(struct snapshot_answer *answer, struct orders *orders, uint32_t stage)
{
    if (orders->stop != stage)
        return 0;
    if (orders->crash) {
        volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *page = 1;
    }
    while (atomic_load(&orders->go) == 0) {
        if (!orders->deaf && snapshot_proceed(answer))
            return 99;
        platform_nap(MS);
    }
    return 0;
}

/* Writes the words 0, 3, 6..., and the count of open descriptors as figure 1. */
static inline int obey(struct snapshot_answer *answer, void *arg)
{
    struct orders *orders = arg;
    for (uint32_t stage = SNAPSHOT_STAGE_STARTED; stage < SNAPSHOT_STAGE_DONE; stage++) {
        snapshot_stage(answer, (enum snapshot_stage)stage);
        int status = stay(answer, orders, stage);
        if (status != 0)
            return status;
    }
    for (int number = 0; number < 100; number++)
        answer->figures[1] += fcntl(number, F_GETFD) >= 0;
    for (size_t at = 0; at < orders->words && at < answer->room; at++)
        answer->words[at] = at * 3;
    answer->count = orders->words;
    answer->figures[0] = orders->words;
    return orders->status;
}

/* Poll until it is no longer flying. */
static inline enum snapshot_state finish(struct snapshot *snapshot)
{
    uint64_t end = platform_now_ns() + 30 * SECOND;
    while (snapshot_poll(snapshot) == SNAPSHOT_FLYING && platform_now_ns() < end) {
        uint32_t bell = snapshot_bell(snapshot->answer);
        if (snapshot_poll(snapshot) != SNAPSHOT_FLYING)
            break;
        snapshot_wait(snapshot->answer, bell, UINT64_MAX);
    }
    return snapshot->state;
}

static inline bool reached(const struct snapshot *snapshot, uint32_t stage)
{
    uint64_t end = platform_now_ns() + 20 * SECOND;
    while (platform_now_ns() < end) {
        uint32_t bell = snapshot_bell(snapshot->answer);
        if (atomic_load(&snapshot->answer->stage) >= stage)
            return true;
        snapshot_wait(snapshot->answer, bell, UINT64_MAX);
    }
    return false;
}

/* Release, and go on until the clone is off the process table. */
static inline bool release_all(struct snapshot *snapshot)
{
    uint64_t end = platform_now_ns() + 20 * SECOND;
    do
        snapshot_release(snapshot);
    while (has_children() && (platform_nap(MS), platform_now_ns() < end));
    return !has_children();
}

#define ASSERT_RIGHT_WORDS(snapshot, number)                           \
    do {                                                               \
        assert_int_equal((snapshot)->answer->count, number);           \
        for (size_t at_ = 0; at_ < (number); at_++)                    \
            assert_int_equal((snapshot)->answer->words[at_], at_ * 3); \
    } while (0)

#endif

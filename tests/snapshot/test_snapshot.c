/* test_snapshot.c: a snapshot that goes well, or is refused: what the job sees, what comes back. */
#define _GNU_SOURCE
#include "jobs.h"

#include <pthread.h>
#include <sys/resource.h>

static struct orders *orders;

static int set_up(void **state)
{
    (void)state;
    platform_faults_load(NULL);
    orders = new_orders();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    platform_faults_load(NULL);
    end_orders(orders);
    return has_children(); /* every test leaves none */
}

#define NUMBERS 100000
static uint64_t *numbers;

static int sum_numbers(struct snapshot_answer *answer, void *arg)
{
    int status = stay(answer, arg, SNAPSHOT_STAGE_STARTED);
    for (size_t at = 0; at < NUMBERS; at++)
        answer->figures[0] += numbers[at];
    return status;
}

static void the_job_sees_memory_as_it_was(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    numbers = malloc(NUMBERS * sizeof *numbers);
    for (size_t at = 0; at < NUMBERS; at++)
        numbers[at] = 2;
    orders->stop = SNAPSHOT_STAGE_STARTED;
    assert_int_equal(snapshot_launch(&snapshot, sum_numbers, orders, 0, 0, 20 * SECOND), SNAPSHOT_FLYING);
    for (size_t at = 0; at < NUMBERS; at++)
        numbers[at] = 1000;
    atomic_store(&orders->go, 1);
    assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
    assert_int_equal(snapshot.answer->figures[0], 2 * NUMBERS);
    assert_int_equal(snapshot.failure, SNAPSHOT_NO_FAILURE);
    assert_true(snapshot.cpu_ns > 0);
    assert_true(snapshot.clone_ns > 0);
    free(numbers);
    assert_true(release_all(&snapshot));
    assert_int_equal(snapshot.state, SNAPSHOT_IDLE);
    assert_null(snapshot.answer);
}

static void answers_of_all_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 400, 511, 512, 513, 10000, 1000000};
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        orders->words = sizes[at];
        snapshot_launch(&snapshot, obey, orders, sizes[at], sizes[at], 20 * SECOND);
        assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
        assert_int_equal(snapshot.answer->room, sizes[at]);
        assert_int_equal(snapshot.answer->figures[1], 0);
        ASSERT_RIGHT_WORDS(&snapshot, sizes[at]);
        snapshot_release(&snapshot);
    }
    assert_true(release_all(&snapshot));
}

/* It answers room for more words than there are addresses, and for more than the process may map. */
static int impossible_room(void)
{
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    EXPECT(snapshot_launch(&snapshot, obey, orders, SIZE_MAX, SIZE_MAX, SECOND) == SNAPSHOT_FAILED);
    EXPECT(snapshot.failure == SNAPSHOT_REFUSED_MEMORY && snapshot.error == ENOMEM);
    EXPECT(snapshot.answer == NULL);
    snapshot_release(&snapshot);
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = (rlim_t)1 << 30;
    EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
    EXPECT(snapshot_launch(&snapshot, obey, orders, SIZE_MAX, 1000, 10 * SECOND) == SNAPSHOT_FLYING);
    EXPECT(snapshot.answer->room >= 1000 && snapshot.answer->room < (size_t)1 << 27);
    EXPECT(finish(&snapshot) == SNAPSHOT_ANSWERED);
    EXPECT(release_all(&snapshot));
    return 0;
}

static void less_room_when_memory_is_refused(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* their shadow memory is far over any RLIMIT_AS */
    assert_int_equal(in_child(impossible_room, 20), 0);
}

static void room_by_halves_down_to_least(void **state)
{
    (void)state;
#ifdef MIDDEN_FAULTS
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    platform_faults_load("shared=1");
    snapshot_launch(&snapshot, obey, orders, 1000, 0, 20 * SECOND);
    assert_int_equal(snapshot.answer->room, 500);
    assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
    assert_true(release_all(&snapshot));

    platform_faults_load("shared=1");
    snapshot_launch(&snapshot, obey, orders, 1000, 800, 20 * SECOND);
    assert_int_equal(snapshot.answer->room, 800);
    assert_true(release_all(&snapshot));

    platform_faults_load("shared=1");
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 1000, 1000, SECOND), SNAPSHOT_FAILED);
    snapshot_release(&snapshot);
    platform_faults_load("shared=*");
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 1000, 0, SECOND), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_REFUSED_MEMORY);
    snapshot_release(&snapshot);
#else
    skip();
#endif
}

static void clone_refused(void **state)
{
    (void)state;
#ifdef MIDDEN_FAULTS
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    int maps = map_count();
    platform_faults_load("clone=1");
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 1000, 0, SECOND), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_REFUSED_CLONE);
    assert_int_equal(snapshot.error, EAGAIN);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(map_count(), maps);
    snapshot_release(&snapshot);
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 1000, 0, 20 * SECOND), SNAPSHOT_FLYING);
    assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
    assert_true(release_all(&snapshot));
#else
    skip();
#endif
}

static void the_job_fails(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    orders->status = -7;
    snapshot_launch(&snapshot, obey, orders, 10, 10, 20 * SECOND);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_JOB_FAILED);
    assert_int_equal(snapshot.error, -7);
    assert_int_equal(snapshot.answer->job_status, -7);
    assert_true(release_all(&snapshot));
}

static void an_overrun_is_no_answer(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    orders->words = 11;
    snapshot_launch(&snapshot, obey, orders, 10, 10, 20 * SECOND);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_JOB_FAILED);
    assert_int_equal(snapshot.error, EOVERFLOW);
    assert_true(release_all(&snapshot));
}

static void every_state_can_be_released(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    snapshot_release(&snapshot);
    orders->stop = SNAPSHOT_STAGE_LISTED;
    snapshot_launch(&snapshot, obey, orders, 10, 10, 20 * SECOND);
    assert_true(reached(&snapshot, SNAPSHOT_STAGE_LISTED));
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FLYING);
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 10, 10, SECOND), SNAPSHOT_FLYING);
    snapshot_release(&snapshot);
    assert_int_equal(snapshot.state, SNAPSHOT_IDLE);
    assert_true(release_all(&snapshot));
}

/* More clones at once than the list of ending ones has room for. */
static void many_at_once(void **state)
{
    (void)state;
    struct snapshot snapshots[40];
    orders->stop = SNAPSHOT_STAGE_FOUND;
    for (int at = 0; at < 40; at++) {
        snapshots[at] = (struct snapshot){.state = SNAPSHOT_IDLE};
        assert_int_equal(snapshot_launch(&snapshots[at], obey, orders, 10, 10, 20 * SECOND), SNAPSHOT_FLYING);
    }
    for (int at = 0; at < 40; at++)
        snapshot_release(&snapshots[at]);
    assert_true(release_all(&snapshots[0]));
}

static void many_in_a_row_leave_nothing(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    orders->words = 1000;
    int maps = 0;
    for (int turn = 0; turn < (SANITIZED ? 40 : 300); turn++) {
        snapshot_launch(&snapshot, obey, orders, 1000, 0, 20 * SECOND);
        if (turn % 3 != 0)
            assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
        snapshot_release(&snapshot);
        if (turn == 10)
            maps = map_count();
    }
    assert_true(release_all(&snapshot));
    assert_in_range(map_count(), 0, maps + (SANITIZED ? 8 : 0));
}

static void the_wait_is_short(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    orders->stop = SNAPSHOT_STAGE_FOUND;
    snapshot_launch(&snapshot, obey, orders, 10, 10, 20 * SECOND);
    assert_true(reached(&snapshot, SNAPSHOT_STAGE_FOUND));
    uint32_t bell = snapshot_bell(snapshot.answer);
    uint64_t before = platform_now_ns();
    snapshot_wait(snapshot.answer, bell, UINT64_MAX);
    assert_in_range(platform_now_ns() - before, 40 * MS, 2 * SECOND);
    before = platform_now_ns();
    snapshot_wait(snapshot.answer, bell, 0);
    assert_in_range(platform_now_ns() - before, 0, SECOND);
    snapshot_ring(snapshot.answer);
    before = platform_now_ns();
    for (int turn = 0; turn < 1000; turn++) /* at once: it was rung since */
        snapshot_wait(snapshot.answer, bell, UINT64_MAX);
    assert_in_range(platform_now_ns() - before, 0, 10 * SECOND);
    atomic_store(&orders->go, 1);
    assert_true(reached(&snapshot, SNAPSHOT_STAGE_DONE));
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_ANSWERED);
    /* and an answer that is unmapped is not waited for */
    struct snapshot_answer *answer = snapshot.answer;
    bell = snapshot_bell(answer);
    assert_true(release_all(&snapshot));
    snapshot_wait(answer, bell, 20 * MS);
}

static void *wait_for_answer(void *arg)
{
    struct snapshot_answer *answer = arg;
    for (;;) {
        uint32_t bell = snapshot_bell(answer);
        if (atomic_load(&answer->stage) == SNAPSHOT_STAGE_DONE)
            return NULL;
        snapshot_wait(answer, bell, UINT64_MAX);
    }
}

static void another_thread_may_wait(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    pthread_t thread;
    orders->stop = SNAPSHOT_STAGE_LISTED;
    snapshot_launch(&snapshot, obey, orders, 10, 10, 20 * SECOND);
    pthread_create(&thread, NULL, wait_for_answer, snapshot.answer);
    atomic_store(&orders->go, 1);
    pthread_join(thread, NULL);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_ANSWERED);
    assert_true(release_all(&snapshot));
}

static void *ring_later(void *arg)
{
    platform_nap(5 * MS);
    snapshot_ring(arg);
    return NULL;
}

/* Not only at the end of its 50 ms: the quickest of some turns, as the machine may be busy. */
static void a_ring_wakes(void **state)
{
    (void)state;
    struct snapshot_answer *answer = platform_map(sizeof *answer);
    uint64_t quickest = UINT64_MAX;
    for (int turn = 0; turn < 10; turn++) {
        pthread_t thread;
        uint32_t bell = snapshot_bell(answer);
        uint64_t before = platform_now_ns();
        pthread_create(&thread, NULL, ring_later, answer);
        snapshot_wait(answer, bell, UINT64_MAX);
        uint64_t took = platform_now_ns() - before;
        quickest = took < quickest ? took : quickest;
        pthread_join(thread, NULL);
    }
    assert_in_range(quickest, 5 * MS, 40 * MS);
    platform_unmap(answer, sizeof *answer);
}

/* The same job on an answer of the caller's, without a clone; faults do not act there. */
static void in_place(void **state)
{
    (void)state;
    size_t bytes = sizeof(struct snapshot_answer) + 50 * sizeof(uint64_t);
    struct snapshot_answer *answer = platform_map(bytes);
    answer->room = 50;
    orders->words = 50;
    platform_faults_load("kill=*,hang=*");
    assert_int_equal(obey(answer, orders), 0);
    assert_int_equal(answer->count, 50);
    assert_int_equal(answer->stage, SNAPSHOT_STAGE_WRITTEN);
    assert_int_equal(snapshot_proceed(answer), 0);
    platform_unmap(answer, bytes);
}

static void failures_have_names(void **state)
{
    (void)state;
    for (int failure = SNAPSHOT_NO_FAILURE; failure <= SNAPSHOT_JOB_FAILED; failure++)
        assert_string_not_equal(snapshot_failure_name((enum snapshot_failure)failure), "unknown failure");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_job_sees_memory_as_it_was),
        TEST(answers_of_all_sizes),
        TEST(less_room_when_memory_is_refused),
        TEST(room_by_halves_down_to_least),
        TEST(clone_refused),
        TEST(the_job_fails),
        TEST(an_overrun_is_no_answer),
        TEST(every_state_can_be_released),
        TEST(many_at_once),
        TEST(many_in_a_row_leave_nothing),
        TEST(the_wait_is_short),
        TEST(another_thread_may_wait),
        TEST(a_ring_wakes),
        TEST(in_place),
        TEST(failures_have_names),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}

/* test_deaths.c: the clone crashes, is killed, hangs, or is reaped by others, at every stage; and every
 * failure that can be injected, one call after the other. */
#define _GNU_SOURCE
#include "jobs.h"

static struct orders *orders;

static int set_up(void **state)
{
    (void)state;
    platform_faults_load(NULL);
    orders = new_orders();
    orders->words = 100;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    platform_faults_load(NULL);
    end_orders(orders);
    return has_children();
}

static void launch(struct snapshot *snapshot, uint64_t timeout_ns)
{
    *snapshot = (struct snapshot){.state = SNAPSHOT_IDLE};
    assert_int_equal(snapshot_launch(snapshot, obey, orders, 100, 100, timeout_ns), SNAPSHOT_FLYING);
}

static void assert_works_again(void)
{
    struct snapshot snapshot;
    platform_faults_load(NULL);
    orders->crash = orders->deaf = false;
    orders->stop = 0;
    launch(&snapshot, 20 * SECOND);
    assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
    ASSERT_RIGHT_WORDS(&snapshot, 100);
    assert_true(release_all(&snapshot));
}

static void killed_at_each_stage(void **state)
{
    (void)state;
    for (uint32_t stage = SNAPSHOT_STAGE_STARTED; stage < SNAPSHOT_STAGE_DONE; stage++) {
        struct snapshot snapshot;
        orders->stop = stage;
        launch(&snapshot, 20 * SECOND);
        assert_true(reached(&snapshot, stage));
        assert_int_equal(kill((pid_t)snapshot.pid, SIGKILL), 0);
        uint64_t before = platform_now_ns();
        assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
        assert_in_range(platform_now_ns() - before, 0, 3 * SECOND);
        assert_int_equal(snapshot.failure, SNAPSHOT_DIED);
        assert_int_equal(snapshot.error, SIGKILL);
        assert_int_equal(snapshot.pid, 0);
        assert_true(snapshot.cpu_ns > 0);
        assert_true(release_all(&snapshot));
    }
    assert_works_again();
}

static void crashed_at_each_stage(void **state)
{
    (void)state;
    for (uint32_t stage = SNAPSHOT_STAGE_STARTED; stage < SNAPSHOT_STAGE_DONE; stage++) {
        struct snapshot snapshot;
        orders->stop = stage;
        orders->crash = true;
        launch(&snapshot, 20 * SECOND);
        assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
        assert_int_equal(snapshot.failure, SNAPSHOT_DIED);
        assert_int_equal(snapshot.error, SIGSEGV);
        assert_true(release_all(&snapshot));
    }
    assert_works_again();
}

static int leave(struct snapshot_answer *answer, void *arg)
{
    (void)answer, (void)arg;
    platform_clone_exit(5);
}

static void ended_without_an_answer(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    snapshot_launch(&snapshot, leave, NULL, 1, 1, 20 * SECOND);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_DIED);
    assert_int_equal(snapshot.error, 5);
    assert_true(release_all(&snapshot));
}

static void timed_out_at_each_stage(void **state)
{
    (void)state;
    for (uint32_t stage = SNAPSHOT_STAGE_STARTED; stage < SNAPSHOT_STAGE_DONE; stage++) {
        struct snapshot snapshot;
        orders->stop = stage;
        orders->deaf = true;
        launch(&snapshot, 60 * MS);
        assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
        assert_int_equal(snapshot.failure, SNAPSHOT_TIMED_OUT);
        assert_in_range(platform_now_ns() - snapshot.launched_ns, 60 * MS, 5 * SECOND);
        /* it is reaped in passing */
        uint64_t end = platform_now_ns() + 10 * SECOND;
        while (snapshot.pid != 0 && platform_now_ns() < end) {
            platform_nap(11 * MS);
            assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FAILED);
        }
        assert_int_equal(snapshot.pid, 0);
        assert_true(release_all(&snapshot));
    }
    assert_works_again();
}

/* waitpid(pid, __WALL) by the program: it can do that, if it insists. */
static void reaped_by_the_program(void **state)
{
    (void)state;
    struct snapshot snapshot;
    int status;
    orders->stop = SNAPSHOT_STAGE_FOUND;
    launch(&snapshot, 20 * SECOND);
    kill((pid_t)snapshot.pid, SIGKILL);
    assert_int_equal(waitpid((pid_t)snapshot.pid, &status, __WALL), snapshot.pid);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_DIED);
    assert_int_equal(snapshot.error, ECHILD);
    assert_true(release_all(&snapshot));

    /* after its answer */
    orders->stop = 0;
    launch(&snapshot, 20 * SECOND);
    assert_int_equal(waitpid((pid_t)snapshot.pid, &status, __WALL), snapshot.pid);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_ANSWERED);
    ASSERT_RIGHT_WORDS(&snapshot, 100);
    assert_true(release_all(&snapshot));
}

#ifdef MIDDEN_FAULTS
static void load(const char *name, int number)
{
    char text[64];
    snprintf(text, sizeof text, "%s=%d", name, number);
    platform_faults_load(text);
}

static void injected_kill_at_each_stage(void **state)
{
    (void)state;
    for (int stage = SNAPSHOT_STAGE_STARTED; stage <= SNAPSHOT_STAGE_DONE; stage++) {
        struct snapshot snapshot;
        load("kill", stage);
        launch(&snapshot, 20 * SECOND);
        /* After DONE nothing more is written: the answer counts, whatever comes then. */
        bool whole = stage == SNAPSHOT_STAGE_DONE;
        assert_int_equal(finish(&snapshot), whole ? SNAPSHOT_ANSWERED : SNAPSHOT_FAILED);
        if (whole)
            ASSERT_RIGHT_WORDS(&snapshot, 100);
        else
            assert_int_equal(snapshot.error, SIGKILL);
        assert_int_equal(snapshot.failure, whole ? SNAPSHOT_NO_FAILURE : SNAPSHOT_DIED);
        assert_int_equal(snapshot.answer->stage, stage);
        assert_true(release_all(&snapshot));
    }
    assert_works_again();
}

static void injected_hang_at_each_stage(void **state)
{
    (void)state;
    for (int stage = SNAPSHOT_STAGE_STARTED; stage <= SNAPSHOT_STAGE_DONE; stage++) {
        struct snapshot snapshot;
        load("hang", stage);
        bool whole = stage == SNAPSHOT_STAGE_DONE;
        launch(&snapshot, whole ? 20 * SECOND : 100 * MS);
        assert_int_equal(finish(&snapshot), whole ? SNAPSHOT_ANSWERED : SNAPSHOT_FAILED);
        assert_int_equal(snapshot.failure, whole ? SNAPSHOT_NO_FAILURE : SNAPSHOT_TIMED_OUT);
        uint64_t before = platform_now_ns();
        snapshot_release(&snapshot); /* with a living clone: killed, not waited for */
        assert_in_range(platform_now_ns() - before, 0, SECOND);
        assert_true(release_all(&snapshot));
    }
    assert_works_again();
}

static int map_in_clone(struct snapshot_answer *answer, void *arg)
{
    (void)arg;
    for (int turn = 0; turn < 3; turn++) {
        void *pages = platform_map(1);
        void *more = pages == NULL ? NULL : platform_remap(pages, 1, 100000);
        if (more == NULL) {
            platform_unmap(pages, 1);
            return ENOMEM;
        }
        platform_unmap(more, 100000);
    }
    answer->figures[0] = 1;
    return 0;
}

/* Each call of each kind is made to fail, until there are no more calls of it. */
static void sweep(void **state)
{
    (void)state;
    static const char *const kinds[] = {"map", "shared", "clone", "kill", "hang"};
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        int failed = 0;
        for (int number = 1; number <= 8; number++) {
            struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
            load(kinds[kind], number);
            snapshot_launch(&snapshot, map_in_clone, NULL, 8, 2, 2 * SECOND);
            if (finish(&snapshot) == SNAPSHOT_ANSWERED) {
                assert_int_equal(snapshot.answer->figures[0], 1);
            } else {
                assert_int_equal(snapshot.state, SNAPSHOT_FAILED);
                assert_int_not_equal(snapshot.failure, SNAPSHOT_NO_FAILURE);
                failed++;
            }
            assert_true(release_all(&snapshot));
        }
        /* map: six calls in the clone; shared: one refusal is survived; kill, hang: STARTED only, as
         * this job tells no stages, and at DONE the answer stands */
        static const int expected[] = {6, 0, 1, 1, 1};
        assert_int_equal(failed, expected[kind]);
    }
    assert_works_again();
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(killed_at_each_stage),        TEST(crashed_at_each_stage),       TEST(ended_without_an_answer),
        TEST(timed_out_at_each_stage),     TEST(reaped_by_the_program),
#ifdef MIDDEN_FAULTS
        TEST(injected_kill_at_each_stage), TEST(injected_hang_at_each_stage), TEST(sweep),
#endif
    };
    return cmocka_run_group_tests_name("snapshot: deaths", tests, NULL, NULL);
}

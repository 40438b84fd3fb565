/* test_other.c: a system that midden does not work on: everything is refused, nothing crashes.
 * Built with -DPLATFORM_OTHER, from this file, src/platform/{other,faults}.c and src/snapshot/snapshot.c. */
#define _GNU_SOURCE
#include "processes.h"

#include "../../src/snapshot/snapshot.h"

static void everything_is_refused(void **state)
{
    (void)state;
    int status;
    struct platform_thread thread;
    _Atomic uint32_t word = 0;
    assert_string_equal(platform_unsupported(), "this is not Linux");
    assert_true(platform_page_bytes() > 0);
    assert_null(platform_map(1));
    assert_null(platform_remap(NULL, 0, 1));
    assert_null(platform_map_shared(1));
    platform_unmap(NULL, 1);
    assert_int_equal(platform_resident_bytes(), 0);
    assert_true(platform_now_ns() > 0);
    (void)platform_cpu_ns();
    platform_nap(UINT64_MAX);
    assert_int_equal(platform_clone(), -ENOSYS);
    platform_kill(1);
    assert_int_equal(platform_reap(1, true, &status, NULL), PLATFORM_GONE);
    platform_wait(&word, 0, UINT64_MAX);
    platform_wake(&word);
    assert_int_equal(platform_thread_start(&thread, NULL, NULL), -ENOSYS);
}

static int never(struct snapshot_answer *answer, void *arg)
{
    (void)answer, (void)arg;
    abort();
}

static void a_snapshot_fails_with_a_reason(void **state)
{
    (void)state;
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    assert_int_equal(snapshot_launch(&snapshot, never, NULL, 1000, 10, SECOND), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.failure, SNAPSHOT_REFUSED_MEMORY);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FAILED);
    snapshot_release(&snapshot);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_IDLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_refused),
        cmocka_unit_test(a_snapshot_fails_with_a_reason),
    };
    return cmocka_run_group_tests_name("platform: other systems", tests, NULL, NULL);
}

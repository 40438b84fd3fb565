/* test_pause.c: how long the program stands still for a snapshot of 1 GiB. Printed, not asserted: the
 * figures are the machine's. What is asserted is that release does not wait for the clone's end. */
#define _GNU_SOURCE
#include "jobs.h"

#define HEAP ((size_t)1 << 30)

static void pause_of(const char *name, int advice)
{
    char *heap = platform_map(HEAP);
    if (heap == NULL)
        skip();
    (void)madvise(heap, HEAP, advice);
    for (size_t at = 0; at < HEAP; at += 4096)
        heap[at] = 1;
    struct orders *orders = new_orders();
    struct snapshot snapshot = {.state = SNAPSHOT_IDLE};
    orders->stop = SNAPSHOT_STAGE_LISTED;
    assert_int_equal(snapshot_launch(&snapshot, obey, orders, 10, 10, 60 * SECOND), SNAPSHOT_FLYING);
    assert_true(reached(&snapshot, SNAPSHOT_STAGE_LISTED));
    uint64_t clone_ns = snapshot.clone_ns;
    uint64_t before = platform_now_ns();
    snapshot_release(&snapshot);
    uint64_t release_ns = platform_now_ns() - before;
    bool still_there = has_children();
    assert_true(release_all(&snapshot));
    print_message("%s: clone %.2f ms, release %.3f ms (%s), clone gone after %.2f ms\n", name,
                  (double)clone_ns / 1e6, (double)release_ns / 1e6,
                  still_there ? "not waited" : "it was gone", (double)(platform_now_ns() - before) / 1e6);
    end_orders(orders);
    platform_unmap(heap, HEAP);
}

static void pauses(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* the shadow of 1 GiB is not what is to be measured */
    pause_of("1 GiB in 4 KiB pages", MADV_NOHUGEPAGE);
    pause_of("1 GiB in huge pages", MADV_HUGEPAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pauses)};
    return cmocka_run_group_tests_name("snapshot: pause", tests, NULL, NULL);
}

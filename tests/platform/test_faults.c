/* test_faults.c: the failures that a build with MIDDEN_FAULTS produces on request. */
#define _GNU_SOURCE
#include "processes.h"

#ifdef MIDDEN_FAULTS

/* The calls, from 1 to 5, that fail, as bits. */
static unsigned failing(const char *text)
{
    unsigned bits = 0;
    platform_faults_load(text);
    for (unsigned call = 1; call <= 5; call++)
        bits |= (unsigned)platform_fault(PLATFORM_FAULT_CLONE) << call;
    platform_faults_load(NULL);
    return bits;
}

static void the_list_is_read(void **state)
{
    (void)state;
    assert_int_equal(failing(NULL), 0);
    assert_int_equal(failing(""), 0);
    assert_int_equal(failing("clone=1"), 1 << 1);
    assert_int_equal(failing("map=1,clone=3,hang=2"), 1 << 3);
    assert_int_equal(failing("clone=*"), 62);
    assert_int_equal(failing("clone=*,"), 62);
    assert_int_equal(failing("clone=0"), 0);
    assert_int_equal(failing("clone="), 0);
    assert_int_equal(failing("clone"), 0);
    assert_int_equal(failing("clone=2x"), 0);
    assert_int_equal(failing("clones=2"), 0);
    assert_int_equal(failing(",,=,*,clone=*2,clone=18446744073709551615000000"), 0);
    assert_int_equal(failing("clone=4,clone=2"), 1 << 2); /* the last one holds */
}

static void memory_is_refused(void **state)
{
    (void)state;
    platform_faults_load("map=2,shared=1");
    void *pages = platform_map(1), *shared;
    assert_non_null(pages);
    assert_null(platform_remap(pages, 1, 100000));
    *(char *)pages = 1;
    assert_null(platform_map_shared(1));
    shared = platform_map_shared(1);
    assert_non_null(shared);
    platform_unmap(pages, 1);
    platform_unmap(shared, 1);
    platform_faults_load(NULL);
}

static int stage_2(void)
{
    platform_fault_at(1);
    platform_fault_at(2);
    return 0;
}

static void stages_kill_and_hang(void **state)
{
    (void)state;
    platform_faults_load("kill=3");
    assert_int_equal(in_child(stage_2, 10), 0);
    platform_faults_load("kill=2");
    assert_int_equal(in_child(stage_2, 10), -SIGKILL);
    platform_faults_load("kill=*");
    assert_int_equal(in_child(stage_2, 10), -SIGKILL);
    platform_faults_load("hang=1");
    assert_int_equal(in_child(stage_2, 1), -SIGALRM);
    platform_faults_load(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_is_read),
        cmocka_unit_test(memory_is_refused),
        cmocka_unit_test(stages_kill_and_hang),
    };
    return cmocka_run_group_tests_name("platform: faults", tests, NULL, NULL);
}

#else

/* Without the option there is nothing to call, and nothing to pay. */
static void constant_zero(void **state)
{
    (void)state;
    _Static_assert(PLATFORM_FAULT(PLATFORM_FAULT_MAP) == 0, "no faults without the option");
    platform_faults_load("map=*,kill=*");
    platform_fault_at(1);
    void *pages = platform_map(1);
    assert_non_null(pages);
    platform_unmap(pages, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(constant_zero)};
    return cmocka_run_group_tests_name("platform: no faults", tests, NULL, NULL);
}

#endif

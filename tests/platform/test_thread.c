/* test_thread.c: the helper thread: it disturbs neither os.fork(), nor signals, nor setuid(). */
#define _GNU_SOURCE
#include "processes.h"

#include <pthread.h>

struct helper {
    struct platform_thread thread;
    _Atomic uint32_t go;
    sigset_t mask;
    int64_t id;
};

static void helper_run(void *arg)
{
    struct helper *helper = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &helper->mask);
    helper->id = atomic_load(&helper->thread.id);
    while (atomic_load(&helper->go) == 0)
        platform_wait(&helper->go, 0, UINT64_MAX);
}

static void helper_end(struct helper *helper)
{
    atomic_store(&helper->go, 1);
    platform_wake(&helper->go);
    platform_thread_join(&helper->thread);
}

/* CPython >= 3.12 warns at os.fork() when num_threads is over 1. */
static void after_join_the_kernel_counts_it_no_more(void **state)
{
    (void)state;
    if (SANITIZED) { /* a sanitizer starts a thread of its own together with the first one */
        struct helper helper = {.go = 0};
        assert_int_equal(platform_thread_start(&helper.thread, helper_run, &helper), 0);
        helper_end(&helper);
    }
    long before = thread_count();
    assert_true(SANITIZED ? before >= 1 : before == 1);
    for (int turn = 0; turn < 2000; turn++) {
        struct helper helper = {.go = 0};
        assert_int_equal(platform_thread_start(&helper.thread, helper_run, &helper), 0);
        if (turn % 2 == 0)
            assert_int_equal(thread_count(), before + 1);
        helper_end(&helper);
        assert_int_equal(thread_count(), before);
        assert_true(helper.id > 0);
    }
}

static void signals_stay_with_the_program(void **state)
{
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct helper helper = {.go = 0};
    assert_int_equal(platform_thread_start(&helper.thread, helper_run, &helper), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    helper_end(&helper);
    for (int signal = 1; signal < SIGRTMIN; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP || signal >= 32)
            continue;
        assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
        assert_int_equal(sigismember(&helper.mask, signal), 1);
    }
}

/* The C library sends every thread one of its own signals, and waits for all to answer. */
static int change_user_beside_helper(void)
{
    struct helper helper = {.go = 0};
    EXPECT(platform_thread_start(&helper.thread, helper_run, &helper) == 0);
    EXPECT(seteuid(geteuid()) == 0);
    helper_end(&helper);
    return 0;
}

static void setuid_is_answered(void **state)
{
    (void)state;
    assert_int_equal(in_child(change_user_beside_helper, 20), 0);
}

static void refused(void **state)
{
    (void)state;
#ifdef MIDDEN_FAULTS
    struct helper helper = {.go = 0};
    platform_faults_load("thread=1");
    assert_int_equal(platform_thread_start(&helper.thread, helper_run, &helper), -EAGAIN);
    assert_int_equal(platform_thread_start(&helper.thread, helper_run, &helper), 0);
    helper_end(&helper);
    platform_faults_load(NULL);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_join_the_kernel_counts_it_no_more),
        cmocka_unit_test(signals_stay_with_the_program),
        cmocka_unit_test(setuid_is_answered),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests_name("platform: helper thread", tests, NULL, NULL);
}

/* test_random.c: random operations on a heap and on its model (model.h). Every case has a seed of its own,
 * printed when it fails: MIDDEN_SEED=<that> MIDDEN_CASES=1 runs it alone. */
#include "../pacer/random.h"
#include "model.h"

#include <signal.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* The model aborts where cmocka's teardown is not reached. */
static void tell_case(int signal_number)
{
    char line[80];
    int length = snprintf(line, sizeof line, "last case: MIDDEN_SEED=%llu MIDDEN_CASES=1\n",
                          (unsigned long long)case_seed);
    (void)!write(STDERR_FILENO, line, (size_t)length);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static struct model model;

static void run_case(const struct model_options *options, size_t steps, size_t check_every)
{
    model.random = case_seed;
    model_new(&model, options, model_random_below);
    for (size_t i = 1; i <= steps; i++) {
        model_step(&model);
        if (i % check_every == 0)
            model_check(&model);
        if (i % (16 * check_every) == 0)
            model_verify_all(&model);
    }
    model_verify_all(&model);
    while (model.count > 0)
        model_release(&model, model.count - 1);
    model_verify_all(&model);
    model_free(&model);
}

static void run_cases(const struct model_options *options, size_t cases, size_t steps, size_t check_every)
{
    size_t done = 0, refused = 0, moved = 0;
    for (size_t i = 0; i < random_cases(cases); i++) {
        random_case(i);
        run_case(options, steps, check_every);
        done += model.steps;
        refused += model.refused;
        moved += model.moved;
    }
    printf("%zu steps: %zu refused, %zu blocks moved\n", done, refused, moved);
}

static void test_short(void **state)
{
    (void)state;
    const struct model_options options = {.at_most = 24 * MIB};
    run_cases(&options, 24, 400, 1);
}

static void test_short_in_little_space(void **state)
{
    (void)state;
    const struct model_options options = {.reserve = 64 * MIB, .at_most = 64 * MIB};
    run_cases(&options, 24, 400, 1);
}

static void test_short_with_ticks(void **state)
{
    (void)state;
    const struct model_options options = {.reserve = 256 * MIB, .at_most = 24 * MIB, .ticks = true};
    run_cases(&options, 20, 400, 1);
}

static void test_long(void **state)
{
    (void)state;
    const struct model_options options = {.at_most = 200 * MIB};
    run_cases(&options, 2, 12000, 1000);
}

static void test_long_in_little_space(void **state)
{
    (void)state;
    const struct model_options options = {.reserve = 64 * MIB, .at_most = 64 * MIB};
    run_cases(&options, 2, 15000, 500);
}

int main(void)
{
    random_from_environment();
    signal(SIGABRT, tell_case);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_short, random_tell),
        cmocka_unit_test_teardown(test_short_in_little_space, random_tell),
        cmocka_unit_test_teardown(test_short_with_ticks, random_tell),
        cmocka_unit_test_teardown(test_long, random_tell),
        cmocka_unit_test_teardown(test_long_in_little_space, random_tell),
    };
    return cmocka_run_group_tests_name("heap: random", tests, NULL, NULL);
}

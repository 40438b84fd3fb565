/* test_figures.c: calls in any order with figures of any size: no sum wraps, and no answer is beyond what
 * pacer.h promises. */
#include "random.h"

#include "pacer.h"

#include <stdbool.h>

static struct pacer pacer;

/* More than fit into an address space, and times of years. */
static void feed(uint64_t *now)
{
    uint64_t objects = random_word() >> (18 + random_below(46)),
             other = random_word() >> (18 + random_below(46));
    uint64_t ns = random_word() >> (8 + random_below(56));
    bool yes = random_below(2);
    *now += ns >> 8;
    switch (random_below(14)) {
    case 0: pacer_start(&pacer, objects, other); break;
    case 1: pacer_young(&pacer, yes, ns); break;
    case 2: pacer_whole_taken(&pacer, objects, yes); break;
    case 3: pacer_whole_done(&pacer, objects, other, ns, yes); break;
    case 4: pacer_launched(&pacer, ns >> 10, *now); break;
    case 5: pacer_landed(&pacer, yes, yes || other % 2 ? objects : 0, other, other / 2); break;
    case 6: pacer_ended(&pacer, *now); break;
    case 7: pacer_failed(&pacer, yes, *now); break;
    case 8: pacer_host_collected(&pacer, objects); break;
    case 9: pacer_sliced(&pacer, yes, objects, ns); break;
    case 10: pacer_cost(&pacer, ns >> 10); break;
    case 11: pacer_given_up(&pacer, *now); break;
    default: pacer_promoted(&pacer, objects >> 10); break;
    }
}

static void test_any_figures(void **state)
{
    (void)state;
    for (size_t i = 0, cases = random_cases(300); i < cases; i++) {
        random_case(i);
        pacer_start(&pacer, 0, 0);
        uint64_t now = 1000000000;
        for (int k = 0; k < 300; k++) {
            feed(&now);
            bool all;
            uint64_t most = pacer_whole(&pacer, &all);
            assert_true((double)most * pacer.examine_ns <=
                        (all ? 40000000 : PACER_LIMIT_NS)); /* 20 ms, 40 in haste */
            assert_true(!all || pacer.old + pacer.grown <= most);
            assert_true(pacer_slice(&pacer) >= 64);
            assert_true((double)pacer_slice(&pacer) * pacer.reclaim_ns <= PACER_LIMIT_NS ||
                        pacer_nap(&pacer) == PACER_LIMIT_NS);
            assert_true(pacer_nap(&pacer) <= (pacer.in_flight ? PACER_LIMIT_NS : 0));
            enum pacer_action action = pacer_decide(&pacer, now);
            assert_true(!pacer.in_flight || action == PACER_REST || action == PACER_IN_PLACE);
            assert_true(action != PACER_FULL || pacer.grown >= pacer.old / 4 ||
                        pacer.since_full >= pacer.old / 4);
            assert_true(pacer.full_factor >= 0.25 && pacer.full_factor <= 2);
            uint64_t grown_at = pacer_grown_at(&pacer);
            assert_true(grown_at == 0 || grown_at >= pacer.old);
            assert_true(action != PACER_HOST || pacer.in_place_failed);
            assert_true(pacer.old < (uint64_t)1 << 56 && pacer.grown < (uint64_t)1
                                                                           << 56); /* no wrap below 0 */
            assert_true(pacer.middle < (uint64_t)1 << 56 && pacer.since_launch < (uint64_t)1 << 56);
        }
    }
}

int main(void)
{
    random_from_environment();
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_any_figures, random_tell)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

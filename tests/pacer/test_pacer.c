/* test_pacer.c: each rule of the pacer by itself, with counts and times made by hand.
 * test_figures.c has figures of any size, test_worlds.c the rules together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pacer.h"

#include <math.h>
#include <stdbool.h>

#define MS ((uint64_t)1000000)
#define SECOND ((uint64_t)1000000000)

static struct pacer pacer;

/* A large heap, no growth, some time after the start. */
static int set_up(void **state)
{
    (void)state;
    pacer_start(&pacer, 1000000, 0);
    return 0;
}

static void assert_decides(uint64_t now_ns, enum pacer_action action)
{
    assert_int_equal(pacer_decide(&pacer, now_ns), action);
}

/* Promoted, and handed over whole or searched: only a full search can be due. */
static void promote_old(uint64_t objects)
{
    pacer_promoted(&pacer, objects);
    pacer.middle = 0;
}

static void land_full(uint64_t counted, uint64_t garbage, uint64_t now_ns)
{
    pacer_landed(&pacer, true, counted, counted, garbage);
    pacer_ended(&pacer, now_ns);
}

/* --- when to search all -------------------------------------------------------------------------------- */

static void test_full_at_a_quarter(void **state)
{
    (void)state;
    assert_decides(SECOND, PACER_REST);
    promote_old(249999);
    assert_decides(SECOND, PACER_REST);
    promote_old(1);
    assert_decides(SECOND, PACER_FULL);
}

static void test_full_not_for_few(void **state)
{
    (void)state;
    pacer_start(&pacer, 0, 0);
    bool all = true;
    for (int i = 0; i < 10; i++) { /* not more often than CPython would: its threshold is 10 */
        pacer_promoted(&pacer, 199);
        pacer_promoted(&pacer, 0); /* a collection of generation 0 */
        assert_int_equal(pacer_whole(&pacer, &all), 0);
        assert_false(all);
    }
    pacer_promoted(&pacer, 9);
    assert_int_equal(pacer_whole(&pacer, &all), 0); /* 1999 */
    assert_false(all);
    pacer_promoted(&pacer, 1);
    assert_true(pacer_whole(&pacer, &all) >= 2000);
    assert_true(all); /* and it is no clone's business */
    assert_decides(SECOND, PACER_REST);
}

static void test_full_sets_the_figures(void **state)
{
    (void)state;
    promote_old(400000);
    pacer_launched(&pacer, 5 * MS, SECOND);
    promote_old(7000);
    land_full(1390000, 90000, 2 * SECOND);
    assert_int_equal(pacer.old, 1300000);
    assert_int_equal(pacer.grown, 7000);
    promote_old(1300000 / 4 - 7000);
    assert_decides(9 * SECOND, PACER_FULL);
}

/* The clone counted, and all the promoted had died: what is known to be there begins anew, and what was
 * promoted does not. The next one searches in any case, since deaths were not counted. */
static void test_counted_and_not_grown(void **state)
{
    (void)state;
    pacer.full_factor = 0.5;
    promote_old(500000);
    assert_int_equal(pacer_grown_at(&pacer), 0);
    pacer.since_full = 499999;
    assert_int_equal(pacer_grown_at(&pacer), 1250000);
    pacer_launched(&pacer, 5 * MS, SECOND);
    promote_old(100);
    pacer_landed(&pacer, false, 1002000, 3000, 0);
    pacer_ended(&pacer, 2 * SECOND);
    assert_int_equal(pacer.old, 1000000);
    assert_int_equal(pacer.grown, 2100);
    assert_int_equal(pacer.since_full, 500099);
    assert_decides(9 * SECOND, PACER_FULL);
    assert_int_equal(pacer_grown_at(&pacer), 0);
}

/* Counted just below, for ever: it is not counted again before an eighth more was promoted. */
static void test_counted_just_below(void **state)
{
    (void)state;
    pacer.full_factor = 2; /* of growth that is known, a half will do */
    promote_old(499999);
    assert_decides(SECOND, PACER_REST);
    promote_old(1);
    assert_decides(SECOND, PACER_FULL);
    assert_int_equal(pacer_grown_at(&pacer), 1250000);
    pacer_launched(&pacer, 5 * MS, SECOND);
    pacer_landed(&pacer, false, 1249000, 3000, 0);
    pacer_ended(&pacer, 2 * SECOND);
    promote_old(250999);
    assert_decides(9 * SECOND, PACER_REST);
    promote_old(1);
    assert_decides(9 * SECOND, PACER_FULL);
    pacer.since_count = 124999;
    assert_decides(9 * SECOND, PACER_REST);
}

/* Searches of all that find less than a fiftieth get rarer, up to twice the heap; others more frequent. */
static void test_full_adapts(void **state)
{
    (void)state;
    static const double poor[] = {0.5, 1, 2, 2}, rich[] = {1, 0.5, 0.25, 0.25};
    for (int i = 0; i < 4; i++) {
        pacer_launched(&pacer, 5 * MS, SECOND);
        land_full(1000000, 19999, 2 * SECOND);
        assert_true(pacer.full_factor == poor[i]);
    }
    pacer_host_collected(&pacer, 1000000);
    for (int i = 0; i < 8; i++) { /* each of which dies by count */
        promote_old(249999);
        pacer.grown = 0;
        assert_decides(9 * SECOND, PACER_REST);
    }
    promote_old(8);
    assert_decides(9 * SECOND, PACER_FULL);
    assert_int_equal(pacer_grown_at(&pacer), 0);
    for (int i = 0; i < 4; i++) {
        pacer_launched(&pacer, 5 * MS, SECOND);
        land_full(1000000, 20000, 2 * SECOND);
        assert_true(pacer.full_factor == rich[i]);
    }
}

/* Clone and page faults may be a twenty-fifth of the time. */
static void test_flights_rest(void **state)
{
    (void)state;
    pacer_launched(&pacer, 30 * MS, SECOND);
    pacer_cost(&pacer, 10 * MS);
    land_full(1000000, 500000, 2 * SECOND);
    promote_old(249999);
    pacer.grown = 124999; /* the others have died, as far as is known: it is due by what was promoted */
    assert_decides(2 * SECOND + 1, PACER_REST);
    assert_decides(3 * SECOND, PACER_REST);
    assert_decides(3 * SECOND + 1, PACER_FULL);
    pacer.grown = 125000; /* a quarter of old does not wait */
    assert_decides(2 * SECOND + 1, PACER_FULL);
    pacer_given_up(&pacer, 9 * SECOND); /* a rest after that, too */
    pacer.grown = 124999;
    assert_decides(10 * SECOND, PACER_REST);
    assert_decides(10 * SECOND + 1, PACER_FULL);
}

/* After a clone that counted no growth, haste takes four times the heap: deaths are not counted in it. But
 * the rest does not last for ever: a program may begin to make garbage then, many times its heap. */
static void flight_lands(bool full, uint64_t counted, bool in_vain)
{
    pacer_start(&pacer, 1000000, 0);
    pacer_launched(&pacer, 40 * MS, SECOND);
    pacer_landed(&pacer, full, counted, 1000000, 30000);
    pacer_ended(&pacer, 2 * SECOND);
    pacer.old = 1000000;
    pacer.grown = 0;
    promote_old(3999999);
    assert_decides(3 * SECOND, in_vain ? PACER_REST : PACER_FULL);
    assert_decides(3 * SECOND + 1, PACER_FULL);
    promote_old(1);
    assert_decides(3 * SECOND, PACER_FULL);
}

static void test_no_haste_after_a_vain_flight(void **state)
{
    (void)state;
    flight_lands(false, 1249999, true);
    flight_lands(true, 1249999, false); /* it searched all */
    flight_lands(false, 0, false);      /* it did not count */
}

static void test_counted_and_shrunk(void **state)
{
    (void)state;
    promote_old(250000);
    pacer_launched(&pacer, 5 * MS, SECOND);
    pacer_landed(&pacer, false, 400000, 3000, 0);
    pacer_ended(&pacer, 2 * SECOND);
    assert_int_equal(pacer.old, 400000);
    assert_int_equal(pacer.grown, 0);
    promote_old(100000);
    assert_decides(9 * SECOND, PACER_FULL);
}

static void test_host_collected(void **state)
{
    (void)state;
    pacer_promoted(&pacer, 400000);
    pacer_failed(&pacer, true, SECOND);
    pacer_host_collected(&pacer, 800000);
    assert_decides(9 * SECOND, PACER_REST);
    promote_old(200000);
    assert_decides(9 * SECOND, PACER_FULL);
}

/* --- the middle ---------------------------------------------------------------------------------------- */

static void test_middle_at_an_eighth_of_old(void **state)
{
    (void)state;
    pacer_promoted(&pacer, 125000);
    assert_decides(SECOND, PACER_REST);
    pacer_promoted(&pacer, 1);
    assert_decides(SECOND, PACER_MIDDLE);
    pacer_launched(&pacer, 5 * MS, SECOND);
    pacer_landed(&pacer, false, 0, 125001, 12000);
    pacer_ended(&pacer, 2 * SECOND);
    assert_int_equal(pacer.grown, 113001);
    assert_decides(9 * SECOND, PACER_REST);
}

/* A clone of 40 ms is not made twice a second for the middle. */
static void test_middle_by_what_a_clone_costs(void **state)
{
    (void)state;
    pacer_launched(&pacer, 40 * MS, SECOND);
    pacer_landed(&pacer, false, 0, 100, 10);
    pacer_ended(&pacer, 2 * SECOND);
    pacer_promoted(&pacer, 200000);
    assert_decides(3 * SECOND, PACER_REST);
    assert_decides(3 * SECOND + 1, PACER_MIDDLE);
}

static void middle_yields(double share)
{
    pacer_launched(&pacer, MS, SECOND);
    pacer_landed(&pacer, false, 0, 100000, (uint64_t)(100000 * share));
    pacer_ended(&pacer, 2 * SECOND);
}

static void test_middle_adapts(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        middle_yields(0.5);
    pacer_promoted(&pacer, 32000); /* a quarter of an eighth, and more than two wholes */
    assert_decides(9 * SECOND, PACER_MIDDLE);
    middle_yields(0.1);
    double factor = pacer.middle_factor;
    middle_yields(0.1); /* neither poor nor rich */
    assert_true(pacer.middle_factor == factor);
    for (int i = 0; i < 10; i++)
        middle_yields(0);
    pacer_promoted(&pacer, 249999); /* then a full search is as near */
    pacer.grown = pacer.since_full = 249999;
    assert_decides(9 * SECOND, PACER_REST);
    pacer_promoted(&pacer, 1);
    assert_decides(9 * SECOND, PACER_FULL);
}

/* --- the middle, whole --------------------------------------------------------------------------------- */

static uint64_t whole(bool all_expected)
{
    bool all = !all_expected;
    uint64_t most = pacer_whole(&pacer, &all);
    assert_int_equal(all, all_expected);
    return most;
}

static void test_whole_within_its_limits(void **state)
{
    (void)state;
    uint64_t limit = 15000; /* 1.5 ms at 100 ns each, which is assumed at first */
    pacer_promoted(&pacer, 1999);
    assert_int_equal(whole(false), 0); /* few */
    pacer_promoted(&pacer, 2001);
    assert_int_equal(whole(false), 0); /* the next lump fits in, too */
    pacer_promoted(&pacer, 3500);
    assert_int_equal(whole(false), limit);
    pacer_promoted(&pacer, 7500);
    assert_int_equal(whole(false), limit);
    pacer_promoted(&pacer, 1);
    assert_int_equal(whole(false), 0); /* a snapshot's business */
}

/* If another lump as the last ones would be too much, it is now or by a clone. Collections of generation 0
 * between them promote nothing, and say nothing about lumps. */
static void test_whole_before_the_next_lump_is_too_much(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        pacer_promoted(&pacer, 9000);
    pacer.middle = 7000;
    for (int i = 0; i < 10; i++)
        pacer_promoted(&pacer, 0);
    assert_int_equal(whole(false), 15000);
}

static void test_whole_counts_deaths(void **state)
{
    (void)state;
    pacer_promoted(&pacer, 10000);
    pacer_whole_taken(&pacer, 8000, false); /* 2000 had died by count */
    assert_int_equal(pacer.grown, 2000);
    pacer_promoted(&pacer, 3000);
    pacer_whole_done(&pacer, 8000, 3000, 1500000, false);
    assert_int_equal(pacer.grown, 5000);
    assert_int_equal(pacer.old, 1000000);
    assert_int_equal(pacer.middle, 0); /* each is proposed once */
}

static bool whole_once(uint64_t survivors)
{
    pacer.middle = 10000;
    if (whole(false) == 0)
        return false;
    pacer_whole_taken(&pacer, 10000, false);
    pacer_whole_done(&pacer, 10000, survivors, 1500000, false);
    return true;
}

/* Poor yields: 1, 2, 4, 8, 16, 16 ... occasions pass; one good yield, and none does. */
static void test_whole_backs_off(void **state)
{
    (void)state;
    static const unsigned passed[] = {0, 1, 2, 4, 8, 16, 16, 16};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        for (unsigned k = 0; k < passed[i]; k++)
            assert_false(whole_once(0));
        assert_true(whole_once(9900));
    }
    for (unsigned k = 0; k < 16; k++)
        assert_false(whole_once(0));
    assert_true(whole_once(5000));
    assert_true(whole_once(5000));
}

static void test_whole_learns_its_cost(void **state)
{
    (void)state;
    pacer_promoted(&pacer, 10000);
    pacer_whole_taken(&pacer, 10000, false);
    pacer_whole_done(&pacer, 10000, 0, 500000 + 10000 * 200, false); /* 200 ns each, beside the young */
    assert_true(pacer.examine_ns == 150);                            /* half the way up at once */
    for (int i = 0; i < 100; i++)
        pacer_whole_done(&pacer, 10000, 0, 500000 + 10000 * 50, false);
    assert_true(pacer.examine_ns > 50 && pacer.examine_ns < 51); /* down by and by */
    pacer_whole_done(&pacer, 10000, 0, 0, false);                /* less than the young alone */
    assert_true(pacer.examine_ns >= 20);
}

/* What costs more than was assumed is forgotten by and by, or nothing would measure it again. */
static void test_whole_forgets_its_cost(void **state)
{
    (void)state;
    pacer.examine_ns = 200;
    pacer_young(&pacer, 0, 50000);
    assert_true(pacer.examine_ns == 200);
    pacer_young(&pacer, 1, 500000);
    assert_true(pacer.examine_ns == 190);
    pacer.examine_ns = 5000;
    for (int i = 0; i < 70; i++)
        pacer_young(&pacer, 1, 500000);
    assert_true(pacer.examine_ns < 105);
    pacer.examine_ns = 30; /* what was measured to be cheap is not forgotten */
    pacer_young(&pacer, 1, 500000);
    assert_true(pacer.examine_ns == 30);
}

static void test_small_heap_whole(void **state)
{
    (void)state;
    uint64_t limit = 200000; /* 20 ms at 100 ns each */
    pacer_start(&pacer, 8000, 0);
    for (int i = 0; i < 10; i++) {
        pacer_promoted(&pacer, 200);
        assert_int_equal(whole(false), 0); /* nor the middle: all will be looked at as soon */
    }
    pacer_promoted(&pacer, 200);
    assert_decides(SECOND, PACER_REST);
    assert_int_equal(whole(true), limit);
    pacer_whole_taken(&pacer, 9500, true);
    pacer_promoted(&pacer, 8700);
    pacer_whole_done(&pacer, 9500, 8700, 1500000, true);
    assert_int_equal(pacer.old, 8700);
    assert_int_equal(pacer.grown, 0);
    assert_int_equal(pacer.lumps, 0);
    pacer_promoted(&pacer, 8700);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(whole(false), 0);
        pacer_promoted(&pacer, 1);
    }
    assert_true(whole(true) >= 8700 + 8700 + 10);
    pacer_promoted(&pacer, limit);
    whole(false); /* too much: a clone's business */
    assert_decides(SECOND, PACER_FULL);
}

/* A heap that is about to become too large for that does not wait for the host's ten collections. */
static void test_almost_large_heap_whole(void **state)
{
    (void)state;
    pacer_start(&pacer, 80000, 0);
    pacer_promoted(&pacer, 20000); /* half the limit */
    assert_int_equal(whole(false), 0);
    pacer_promoted(&pacer, 1);
    assert_int_equal(whole(true), 200000);
    pacer_promoted(&pacer, 99999);
    whole(true);
    assert_decides(SECOND, PACER_REST);
    pacer_promoted(&pacer, 1);
    whole(false);
    assert_decides(SECOND, PACER_FULL);
}

/* --- slices -------------------------------------------------------------------------------------------- */

static double estimate(void)
{
    return (double)pacer_slice(&pacer) * pacer.reclaim_ns;
}

static void test_slices_follow_the_cost(void **state)
{
    (void)state;
    assert_int_equal(pacer_slice(&pacer), 4000); /* 1 ms at 250 ns each, which is assumed at first */
    double longest = 0;
    unsigned long_ones = 0;
    for (int i = 0; i < 200; i++) {
        double cost = i < 100 ? 50 : 2000; /* it jumps to the fortyfold */
        size_t slice = pacer_slice(&pacer);
        assert_true(estimate() <= PACER_LIMIT_NS);
        longest = fmax(longest, (double)slice * cost);
        long_ones += (double)slice * cost > PACER_LIMIT_NS;
        pacer_sliced(&pacer, 0, slice, (uint64_t)(50000 + (double)slice * cost));
    }
    assert_true(longest > 30 * MS);   /* the one that nobody could know of */
    assert_in_range(long_ones, 1, 1); /* and no other */
    assert_true(estimate() > 0.9 * PACER_SLICE_NS);
    for (int i = 0; i < 100; i++)
        pacer_sliced(&pacer, 1, 1000, 500000 + 1000 * 100);
    assert_in_range(pacer_slice(&pacer), 9000, 10000); /* cheap again, by and by */
}

static void test_slices_at_the_extremes(void **state)
{
    (void)state;
    pacer_sliced(&pacer, 0, 63, UINT64_MAX); /* too few to say anything */
    assert_int_equal(pacer_slice(&pacer), 4000);
    for (int i = 0; i < 100; i++)
        pacer_sliced(&pacer, 0, 64, UINT64_MAX);
    assert_int_equal(pacer_slice(&pacer), 64);
    assert_true(estimate() <= PACER_LIMIT_NS);
    for (int i = 0; i < 1000; i++)
        pacer_sliced(&pacer, 0, SIZE_MAX, 0);
    assert_in_range(pacer_slice(&pacer), 49000, 50000); /* never less than 20 ns */
    assert_true(estimate() <= PACER_LIMIT_NS);
}

/* A slice costs what the collection took beyond one without a slice. */
static void test_young_collections_are_not_charged(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        pacer_young(&pacer, 0, 300000);
        pacer_young(&pacer, 1, 3000000);
    }
    for (int i = 0; i < 200; i++) {
        pacer_sliced(&pacer, 0, 1000, 300000 + 1000 * 400);
        pacer_sliced(&pacer, 1, 1000, 3000000 + 1000 * 400);
    }
    assert_true(pacer.reclaim_ns > 399 && pacer.reclaim_ns < 401);
}

/* --- naps, and a hopeless flight ----------------------------------------------------------------------- */

static void test_naps(void **state)
{
    (void)state;
    promote_old(600000);
    assert_int_equal(pacer_nap(&pacer), 0); /* nothing flies */
    pacer_launched(&pacer, 5 * MS, SECOND);
    uint64_t before = 0;
    for (int i = 0; i < 1000; i++) {
        promote_old(1000);
        uint64_t nap = pacer_nap(&pacer), allowed = (pacer.old + pacer.grown) / 8;
        assert_true(nap >= before && nap <= PACER_LIMIT_NS);
        assert_int_equal(nap == 0, pacer.since_launch <= allowed);
        assert_int_equal(nap == PACER_LIMIT_NS, pacer.since_launch >= 2 * allowed);
        before = nap;
    }
    assert_int_equal(before, PACER_LIMIT_NS);
    land_full(1600000, 0, 2 * SECOND);
    assert_int_equal(pacer_nap(&pacer), 0);
}

/* What was promoted and was no garbage last time holds nobody back, until it is three eighths. */
static void test_naps_follow_the_yield(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        pacer_promoted(&pacer, 100000);
        pacer_launched(&pacer, 5 * MS, SECOND);
        land_full(1000000, 0, 2 * SECOND);
    }
    pacer_launched(&pacer, 5 * MS, SECOND);
    promote_old(599000); /* of 1 599 000 */
    assert_int_equal(pacer_nap(&pacer), 0);
    assert_int_equal(pacer_slice(&pacer), 4000);
    promote_old(2000);
    assert_true(pacer_nap(&pacer) > 0);
    assert_true(pacer_slice(&pacer) > 4000);
    promote_old(3000000);
    assert_int_equal(pacer_nap(&pacer), PACER_LIMIT_NS);
}

static void test_no_naps_in_small_heaps(void **state)
{
    (void)state;
    pacer_start(&pacer, 20000, 0);
    pacer_launched(&pacer, MS, SECOND);
    pacer_promoted(&pacer, 60000); /* as much as four wholes */
    assert_int_equal(pacer_nap(&pacer), 0);
    pacer_promoted(&pacer, 30000);
    assert_true(pacer_nap(&pacer) > 0);
}

/* It has doubled, and the clone has had its time: the one without the other is no reason. */
static void test_hopeless(void **state)
{
    (void)state;
    pacer_launched(&pacer, 5 * MS, SECOND);
    pacer_promoted(&pacer, 999999);
    assert_decides(1000 * SECOND, PACER_REST);
    pacer_promoted(&pacer, 2);
    assert_decides(2 * SECOND, PACER_REST);
    uint64_t late_ns = SECOND + 2 * SECOND + 1000000 * (uint64_t)5000;
    assert_decides(late_ns, PACER_REST);
    assert_decides(late_ns + 1, PACER_IN_PLACE);
    pacer_given_up(&pacer, late_ns);
    pacer_failed(&pacer, true, late_ns); /* no memory for that: not again at once */
    pacer_launched(&pacer, 5 * MS, late_ns);
    pacer_promoted(&pacer, 5000000);
    assert_decides(late_ns + 100 * SECOND, PACER_REST);
}

/* --- failures ------------------------------------------------------------------------------------------ */

static void test_failures_back_off(void **state)
{
    (void)state;
    uint64_t now = SECOND, wait = 100 * MS;
    promote_old(300000); /* less than half of old: never in place */
    for (int i = 0; i < 12; i++) {
        assert_decides(now, PACER_FULL);
        pacer_failed(&pacer, false, now);
        assert_decides(now, PACER_REST);
        assert_decides(now + wait - 1, PACER_REST);
        now += wait;
        if (wait < 6400 * MS)
            wait *= 2;
    }
    assert_decides(now, PACER_FULL);
    pacer_launched(&pacer, 5 * MS, now);
    land_full(1300000, 0, now);
    assert_int_equal(pacer.failures, 0);
    promote_old(650000); /* a half, since that found no garbage */
    assert_decides(now + SECOND, PACER_FULL);
    pacer_failed(&pacer, false, now);
    assert_decides(now + 100 * MS - 1, PACER_REST);
    assert_decides(now + 126 * MS, PACER_FULL); /* as after the first; and the clone's rest */
}

static void test_failures_end_in_place_and_in_the_host(void **state)
{
    (void)state;
    promote_old(499999);
    for (int i = 0; i < 3; i++)
        pacer_failed(&pacer, false, SECOND);
    assert_decides(2 * SECOND, PACER_FULL);
    promote_old(1);
    assert_decides(SECOND, PACER_IN_PLACE); /* and this does not wait */
    pacer_failed(&pacer, true, SECOND);
    assert_decides(SECOND, PACER_HOST);
    pacer_host_collected(&pacer, 1200000);
    assert_decides(SECOND, PACER_REST);
    promote_old(300000);
    assert_decides(1000 * SECOND, PACER_FULL); /* clones again */
}

static void test_given_up_is_no_failure(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        pacer_launched(&pacer, 5 * MS, SECOND);
        pacer_given_up(&pacer, SECOND);
    }
    promote_old(600000);
    assert_decides(SECOND + 1000 * MS, PACER_FULL);
}

#define RULE(name) cmocka_unit_test_setup(name, set_up)

/* There were more than the pacer thought: it does not ask for them whole again, but for a clone. */
static void test_whole_refused(void **state)
{
    (void)state;
    pacer_start(&pacer, 10000, 0);
    for (int i = 0; i < 12; i++)
        pacer_promoted(&pacer, 1000);
    uint64_t most = whole(true);
    assert_decides(SECOND, PACER_REST);
    pacer_whole_refused(&pacer, most, true);
    pacer_promoted(&pacer, most);
    assert_int_equal(whole(false), 0);
    assert_decides(SECOND, PACER_FULL);
    pacer_start(&pacer, 10000000, 20000);
    pacer_whole_refused(&pacer, 20000, false);
    assert_true(pacer.middle > 20000);
}

/* A heap that is somewhat too large to be handed over whole, and cannot wait until a flight may cost so much again. */
static void test_haste_looks_at_all(void **state)
{
    (void)state;
    pacer_start(&pacer, 240000, 0);
    pacer_expect(&pacer, 20 * MS, SECOND);
    for (int i = 0; i < 12; i++)
        pacer_promoted(&pacer, 10200);
    assert_int_equal(whole(false), 0);
    assert_decides(SECOND + 400 * MS, PACER_REST); /* 122 400 have come: half of what there was */
    assert_true(whole(true) >= 362400);
    assert_int_equal(whole(false), 0);             /* asked for once */
    assert_decides(SECOND + 600 * MS, PACER_FULL); /* by now a clone may cost it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(test_full_at_a_quarter),
        RULE(test_full_not_for_few),
        RULE(test_full_sets_the_figures),
        RULE(test_counted_and_not_grown),
        RULE(test_counted_just_below),
        RULE(test_full_adapts),
        RULE(test_flights_rest),
        RULE(test_no_haste_after_a_vain_flight),
        RULE(test_counted_and_shrunk),
        RULE(test_host_collected),
        RULE(test_middle_at_an_eighth_of_old),
        RULE(test_middle_by_what_a_clone_costs),
        RULE(test_middle_adapts),
        RULE(test_whole_within_its_limits),
        RULE(test_whole_before_the_next_lump_is_too_much),
        RULE(test_whole_counts_deaths),
        RULE(test_whole_backs_off),
        RULE(test_whole_learns_its_cost),
        RULE(test_whole_forgets_its_cost),
        RULE(test_small_heap_whole),
        RULE(test_whole_refused),
        RULE(test_haste_looks_at_all),
        RULE(test_almost_large_heap_whole),
        RULE(test_slices_follow_the_cost),
        RULE(test_slices_at_the_extremes),
        RULE(test_young_collections_are_not_charged),
        RULE(test_naps),
        RULE(test_naps_follow_the_yield),
        RULE(test_no_naps_in_small_heaps),
        RULE(test_hopeless),
        RULE(test_failures_back_off),
        RULE(test_failures_end_in_place_and_in_the_host),
        RULE(test_given_up_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

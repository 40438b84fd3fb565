/* test_pauses.c: the histogram against a sorted array: no percentile is below the true one, above it by
 * more than an eighth, or above the longest pause. */
#include "random.h"

#include "pauses.h"

#include <string.h>

/* What is longer, more than an hour, is in the last bucket, and told as the longest pause there was. */
#define LONGEST (((uint64_t)15 << 38) - 1)

/* The k-th smallest, by the rule of pauses.h: a share `share` of all did not exceed it. */
static uint64_t true_percentile(const uint64_t *sorted, size_t n, double share)
{
    size_t k = 0;
    while (k + 1 < n && (double)(k + 1) < share * (double)n)
        k++;
    return sorted[k];
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void assert_close(uint64_t told, uint64_t true_ns)
{
    assert_true(told >= true_ns);
    assert_true(told - true_ns <= true_ns / 8);
}

static uint64_t alone(uint64_t ns, double share)
{
    struct pauses pauses = {0};
    pauses_add(&pauses, ns);
    assert_int_equal(pauses.count, 1);
    assert_int_equal(pauses.total_ns, ns);
    assert_int_equal(pauses.max_ns, ns);
    return pauses_percentile(&pauses, share);
}

/* --- by hand ------------------------------------------------------------------------------------------- */

static void test_none(void **state)
{
    (void)state;
    struct pauses pauses = {0};
    assert_int_equal(pauses_percentile(&pauses, 0.5), 0);
    assert_int_equal(pauses_percentile(&pauses, 1), 0);
}

/* The longest pause is never exceeded, so one alone is told exactly: also one beyond the last bucket. */
static void test_one(void **state)
{
    (void)state;
    static const uint64_t times[] = {
        0,         1,       7,           8,       9,           15,          16,
        17,        1000000, LONGEST - 1, LONGEST, LONGEST + 1, LONGEST * 2, (uint64_t)1 << 63,
        UINT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        for (double share = 0.001; share <= 1; share *= 1.9)
            assert_int_equal(alone(times[i], share), times[i]);
}

static void test_edges_of_buckets(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit <= 41; bit++) {
        for (uint64_t eighth = 0; eighth < 8; eighth++) {
            uint64_t edge = ((uint64_t)1 << bit) + (bit >= 3 ? eighth << (bit - 3) : 0);
            for (uint64_t ns = edge - (edge > 0); ns <= edge + 1; ns++) {
                struct pauses pauses = {0};
                pauses_add(&pauses, ns);
                pauses_add(&pauses, UINT64_MAX); /* so that the bucket's end is told, not the longest */
                if (ns <= LONGEST)
                    assert_close(pauses_percentile(&pauses, 0.5), ns);
            }
        }
    }
}

static void test_extremes(void **state)
{
    (void)state;
    struct pauses pauses = {0};
    pauses_add(&pauses, 0);
    pauses_add(&pauses, (uint64_t)1 << 63);
    assert_int_equal(pauses_percentile(&pauses, 0.5), 0);
    assert_int_equal(pauses_percentile(&pauses, 1), (uint64_t)1 << 63);
    assert_int_equal(pauses.max_ns, (uint64_t)1 << 63);
}

/* The 99th percentile of a hundred is the last but one. */
static void test_ranks(void **state)
{
    (void)state;
    struct pauses pauses = {0};
    for (unsigned i = 0; i < 99; i++)
        pauses_add(&pauses, 5);
    pauses_add(&pauses, 1000000);
    assert_int_equal(pauses_percentile(&pauses, 0.5), 5);
    assert_int_equal(pauses_percentile(&pauses, 0.99), 5);
    assert_int_equal(pauses_percentile(&pauses, 0.991), 1000000);
    assert_int_equal(pauses_percentile(&pauses, 1), 1000000);
}

static void test_names(void **state)
{
    (void)state;
    for (int cause = 0; cause < PAUSE_CAUSES; cause++)
        for (int other = 0; other < cause; other++)
            assert_string_not_equal(pause_cause_name((enum pause_cause)cause),
                                    pause_cause_name((enum pause_cause)other));
    assert_string_equal(pause_cause_name(PAUSE_CLONE), "clone");
    assert_string_equal(pause_cause_name(PAUSE_NAP), "nap");
}

/* --- by chance ----------------------------------------------------------------------------------------- */

static uint64_t random_time(unsigned kind)
{
    switch (kind) {
    case 0: return random_below(40);                             /* many alike */
    case 1: return (uint64_t)random_between(1, (double)LONGEST); /* every order of magnitude */
    case 2: return (uint64_t)(1e6 * -log(1 - random_share()));   /* as pauses are, about */
    case 3: return random_below(2) ? 100 : 2000000000u;          /* two heaps of them */
    default: return random_word() >> (23 + random_below(41));    /* all bits */
    }
}

static void test_against_a_sorted_array(void **state)
{
    (void)state;
    static uint64_t times[3000];
    static const double shares[] = {1e-9, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1};
    for (size_t i = 0, cases = random_cases(3000); i < cases; i++) {
        random_case(i);
        struct pauses pauses = {0};
        size_t n = 1 + random_below(random_below(3) ? 30 : 3000);
        unsigned kind = (unsigned)random_below(5);
        uint64_t total = 0, before = 0;
        for (size_t k = 0; k < n; k++) {
            times[k] = random_time(kind);
            total += times[k];
            pauses_add(&pauses, times[k]);
        }
        qsort(times, n, sizeof *times, compare);
        assert_int_equal(pauses.count, n);
        assert_int_equal(pauses.total_ns, total);
        assert_int_equal(pauses.max_ns, times[n - 1]);
        for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
            uint64_t told = pauses_percentile(&pauses, shares[s]);
            assert_close(told, true_percentile(times, n, shares[s]));
            assert_true(told >= before); /* of a greater share, no less */
            assert_true(told <= pauses.max_ns);
            before = told;
        }
        assert_int_equal(before, pauses.max_ns);
    }
}

int main(void)
{
    random_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_edges_of_buckets),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_names),
        cmocka_unit_test_teardown(test_against_a_sorted_array, random_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* random.h: random numbers for the tests of src/pacer (splitmix64). A test prints its seed and takes it back
 * from MIDDEN_SEED; MIDDEN_CASES says how many cases, and each case has the seed first + its number. */
#ifndef MIDDEN_TESTS_PACER_RANDOM_H
#define MIDDEN_TESTS_PACER_RANDOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t first_seed, case_seed, random_state;

static inline uint64_t random_word(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 <= it < 1 */
static inline double random_share(void)
{
    return (double)(random_word() >> 11) / 9007199254740992.0;
}

static inline size_t random_below(size_t n)
{
    return (size_t)((random_word() >> 32) * n >> 32);
}

/* Every order of magnitude is as likely as the other. pre: 0 < low <= high */
static inline double random_between(double low, double high)
{
    return low * pow(high / low, random_share());
}

static inline void random_from_environment(void)
{
    const char *text = getenv("MIDDEN_SEED");
    first_seed = case_seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("MIDDEN_SEED=%llu\n", (unsigned long long)first_seed);
    fflush(stdout);
}

/* Scaled by MIDDEN_TEST_SCALE (default 1), at least one. */
static inline size_t random_cases(size_t usual)
{
    const char *text = getenv("MIDDEN_CASES"), *scale = getenv("MIDDEN_TEST_SCALE");
    if (text != NULL)
        return strtoul(text, NULL, 10);
    double scaled = (double)usual * (scale != NULL ? strtod(scale, NULL) : 1.0);
    return scaled < 1 ? 1 : (size_t)scaled;
}

static inline void random_case(size_t i)
{
    random_state = case_seed = first_seed + i;
}

/* A teardown: after a failure the case can be run alone. */
static inline int random_tell(void **state)
{
    (void)state;
    printf("last case: MIDDEN_SEED=%llu MIDDEN_CASES=1\n", (unsigned long long)case_seed);
    return 0;
}

#endif

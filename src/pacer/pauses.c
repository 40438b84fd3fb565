/* pauses.c: the histogram of stand-stills. */
#include "pauses.h"

#include <stdbool.h>

const char *pause_cause_name(enum pause_cause cause)
{
    static const char *const names[PAUSE_CAUSES] = {"clone", "reclaim", "young", "full", "nap"};
    return names[cause];
}

/* Bucket of a time: the exponent, and three bits below the leading one. Below 8 ns each its own. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 8)
        return (unsigned)ns;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (exponent - 2) * 8 + (unsigned)((ns >> (exponent - 3)) & 7);
    return bucket < PAUSE_BUCKETS ? bucket : PAUSE_BUCKETS - 1;
}

static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 8)
        return bucket;
    unsigned exponent = bucket / 8 + 2;
    return ((uint64_t)(8 + bucket % 8 + 1) << (exponent - 3)) - 1;
}

void pauses_add(struct pauses *pauses, uint64_t ns)
{
    pauses->count++;
    pauses->total_ns += ns;
    if (ns > pauses->max_ns)
        pauses->max_ns = ns;
    pauses->buckets[bucket_of(ns)]++;
}

uint64_t pauses_percentile(const struct pauses *pauses, double share)
{
    if (pauses->count == 0)
        return 0;
    double wanted = share * (double)pauses->count;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < PAUSE_BUCKETS; bucket++) {
        seen += pauses->buckets[bucket];
        if ((double)seen >= wanted && seen != 0) {
            uint64_t end = bucket_end(bucket);
            bool last = bucket == PAUSE_BUCKETS - 1; /* it has what is longer, too */
            return end < pauses->max_ns && !last ? end : pauses->max_ns;
        }
    }
    return pauses->max_ns;
}

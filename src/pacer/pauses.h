/* pauses.h: how often and how long the program stood still, by cause.
 *
 * A logarithmic histogram: eight buckets to a doubling of time, so a percentile is exact to 12.5 %
 * (the bucket's upper edge is told, never more than the longest pause). Constant memory, no clock. */
#ifndef MIDDEN_PAUSES_H
#define MIDDEN_PAUSES_H

#include <stdint.h>

enum pause_cause {
    PAUSE_CLONE,   /* the program stood still while it was cloned */
    PAUSE_RECLAIM, /* a young collection with candidates in it */
    PAUSE_YOUNG,   /* a young collection as the host runs it */
    PAUSE_FULL,    /* a collection of all generations, in place: asked for, or the last resort */
    PAUSE_NAP,     /* the program was held back */
    PAUSE_CAUSES
};
const char *pause_cause_name(enum pause_cause cause);

#define PAUSE_BUCKETS 320 /* 8 a doubling, up to 2^42 ns */

struct pauses {
    uint64_t count, total_ns, max_ns;
    uint32_t buckets[PAUSE_BUCKETS];
};

void pauses_add(struct pauses *pauses, uint64_t ns);
/* The time that a share of all pauses did not exceed (0 < share <= 1); 0 when there were none. */
uint64_t pauses_percentile(const struct pauses *pauses, double share);

#endif

/* world.h: a program without an interpreter, in made-up time, that drives the pacer as src/cpython/ticks.c and
 * collector.c do; and beside it the same program under CPython's own rule.
 *
 * A turn is one collection of CPython: some allocations, "start", the collection, "stop". Objects are
 * numbers of objects (double, since shares of them die). Deaths follow the program's allocations, not the
 * clock, so that both heaps hold the same program and a nap slows it down.
 * What world_turn asserts itself holds in every world: it says so there. */
#ifndef MIDDEN_TESTS_PACER_WORLD_H
#define MIDDEN_TESTS_PACER_WORLD_H

#include "random.h"

#include "pacer.h"

/* What is in a list: who stays, who will die by count, who will die in a cycle, who has. */
struct people {
    double staying, counted, cyclic, garbage;
};

struct program {
    double young, middle;   /* thresholds: 700 and 10, or 2000 and 10 */
    double allocate_ns;     /* of the program's time, for each object that stays allocated */
    double survive;         /* share of the young that is promoted */
    double uneven;          /* 0: every lump alike; 1: from none to twice as many */
    double counted, cyclic; /* shares of the promoted that die by count, or in cycles; the rest stays */
    double lifetime;        /* allocations, the mean, until they die */
    double staying_most;    /* so many may stay: then counted and cyclic share what would */
};

struct machine {
    double young_ns, examine_ns, reclaim_ns; /* an object of the young; of the old, examined; reclaimed */
    double find_ns, count_ns;                /* in the clone: an object searched, or only counted */
    double clone_base_ns, clone_ns;          /* and by object of the old */
    double touched;   /* old objects that the program writes to, for each that it allocates */
    double wrong;     /* share of the candidates that is not reclaimed after all */
    double component; /* a slice is a multiple of that */
};

enum flight { FLIGHT_NONE, FLIGHT_SEARCHING, FLIGHT_RECLAIMING };

struct heap {
    struct people old, middle; /* middle: behind the marker */
    double young;              /* in generation 1 */
    double wrong;              /* of these, candidates that were not reclaimed */
    double most;               /* objects promoted and still there, at the worst turn */
    double fulls;              /* CPython's own full collections */
};

struct world {
    struct program program;
    struct machine machine;
    uint64_t
        random; /* random.h's state: each file has its own, and a case is to be the same when run alone */
    bool no_clone, no_memory; /* clones fail; searches in place do */

    struct heap ours, theirs;
    double total, pending; /* CPython's figures for its rule (theirs) */
    unsigned turns, gen1, gen2;
    struct pacer pacer;
    uint64_t now_ns;
    enum flight flight;
    uint64_t lands_ns;
    bool found_full;
    double found_counted, looked_at, candidates, next, slice;
    uint64_t ended_ns;           /* the last flight's end, or the last failure */
    bool hasty, hasty_vain;      /* launched within the rest that the last one cost; and nothing to find */
    double flight_ns, settled;   /* what it costs; objects when all were last searched, or fewer counted */
    double faults, young_faults; /* pages copied during the flight; the young allocated meanwhile */

    /* What happened. */
    unsigned full, middle, counted_only, full_vain, hasty_count, in_place, host, failed, whole, whole_all;
    double clone_total_ns, fault_total_ns, vain_total_ns, flight_longest_ns, their_full_ns, nap_total_ns,
        whole_ns, reclaim_ns, in_place_ns, whole_longest_ns, slice_longest_ns;
    double reclaimed, promoted;
};

/* An ordinary program on an ordinary machine, to be changed as a test wants; starts with nothing. */
void world_ordinary(struct world *world, bool large_young);
/* A heap that was there when the pacer started: so many stay. */
void world_start(struct world *world, double staying);
void world_turn(struct world *world);
/* Turns until so many objects were allocated. */
void world_run(struct world *world, double allocations);
void world_tell(const struct world *world);

double people_all(const struct people *people);

#endif

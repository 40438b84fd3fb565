/* collector.h: one concurrent collection of a CPython program, from launch to the last slice.
 *
 *   NONE --launch--> SEARCHING --answer--> RECLAIMING --last slice--> NONE
 *                        \-- clone died, timed out; the program forked, froze, collected by itself --> NONE
 *
 * Invariant: a candidate is handed to CPython's young collection only if its block was not freed since
 * the snapshot (record.h) and it is tracked; everything else about it CPython works out anew. So a wrong
 * candidate costs time and never an object. docs/soundness.md has the argument.
 *
 * One collector a process, serving the main interpreter. Everything here needs its GIL; after a fork the
 * child's first use of it (collector_forked) makes it idle again.
 *
 * The rooms: collector.c launches, lands and hands over; ticks.c hears of CPython's collections; idle.c
 * keeps things going when the program allocates nothing; request.c collects when asked; lifecycle.c
 * enables, disables, follows forks; module.c is what Python sees. */
#ifndef MIDDEN_CPYTHON_COLLECTOR_H
#define MIDDEN_CPYTHON_COLLECTOR_H

#include "finder.h"
#include "gcstate.h"
#include "pacer/pacer.h"
#include "pacer/pauses.h"
#include "snapshot/snapshot.h"

enum flight { FLIGHT_NONE, FLIGHT_SEARCHING, FLIGHT_RECLAIMING };

/* What became of a flight. */
struct outcome {
    uint64_t serial; /* counts flights */
    bool failed, given_up;
    size_t found, reclaimed;
    uint64_t clone_ns, find_ns, reclaim_ns;
};

struct collector {
    bool enabled;
    bool fast_collect;
    int64_t process; /* that it was enabled in, or forked into */
    struct gcstate gc;
    struct pacer pacer;

    enum flight flight;
    bool requested; /* midden.collect() asked: goes on even when gc is disabled */
    struct snapshot snapshot;
    struct finder_order order;
    uintptr_t frozen;         /* the last frozen object at launch */
    struct outcome outcome;   /* of this flight, or of the last one */
    struct outcome asked_for; /* of the last one that midden.collect() asked for, when it has ended */

    const uint64_t *candidates;
    size_t count, next; /* how many; the first not yet handed over */
    void *pages;        /* where they lie if the search was in place; else in the answer */
    size_t pages_bytes;

    /* The collection of CPython that runs now: between the two ticks. */
    bool within;
    bool usual; /* the youngest list is about as long as its threshold says */
    uint64_t start_ns;
    size_t slice_begin, slice_handed;
    size_t whole;
    bool whole_all;
    Py_ssize_t pending_seen; /* gcstate_pending at the last stop */
    struct gc_links *aside;  /* the old objects put aside in a fast collection */
    uint64_t aside_total;

    /* What stats() tells. */
    struct pauses pauses[PAUSE_CAUSES];
    uint64_t snapshots, snapshots_failed, candidates_total, reclaimed_total, fallbacks;
    uint64_t faults_before, cow_faults; /* page faults: at launch; during flights */
    uint64_t whole_count, whole_objects, oversized, child_cpu_ns, child_bytes, find_ns;
    const char *last_failure;

    /* For tests. */
    unsigned torture; /* a snapshot every so many young collections */
    unsigned torture_turn;
    bool check;          /* verify the lists at every tick */
    uint64_t timeout_ns; /* 0: the usual */
};

extern struct collector collector;

#define COLLECTOR_FAULT_NS 3000u /* a page fault: 2 to 11 us were measured in virtual machines */

/* --- collector.c -------------------------------------------------------------------------------- */

/* pre: FLIGHT_NONE. False: it failed, which is counted. */
bool collector_launch(enum finder_scope scope, uint64_t grown_at, bool requested);
/* The last resort: search in the program, then reclaim by slices as ever. pre: FLIGHT_NONE. */
bool collector_search_in_place(void);
/* Has the clone answered, died, or run out of time? */
void collector_look(void);
/* End the flight, in any state; it is not a failure. */
void collector_give_up(void);
/* In a "start" tick: put a slice into the list of that generation. */
void collector_hand_over(int generation);
/* In the "stop" tick: see what became of it. ns: how long the collection took. */
void collector_account(int generation, uint64_t ns);
/* In a forked child: forget the parent's flight. */
void collector_forked(void);

/* --- ticks.c ------------------------------------------------------------------------------------ */

/* See that the callback is in gc.callbacks; false with an exception set. It comes back by itself when the
 * program clears the list, unless the program keeps it: then with the next flight that needs it. */
bool ticks_install(void);
void ticks_remove(void);
/* How many ticks there were; grows with every collection. */
uint64_t ticks_count(void);

/* --- idle.c ------------------------------------------------------------------------------------- */

void idle_start(void);  /* a flight has begun */
void idle_stop(void);   /* it is over, or the process is about to fork; returns when the thread is gone */
void idle_forget(void); /* in a forked child: the thread is not there */

/* --- request.c ---------------------------------------------------------------------------------- */

/* gc.collect as it was when midden was enabled (borrowed; NULL when not enabled). */
PyObject *request_host_collect(void);
bool request_open(bool fast_collect); /* false with an exception set */
void request_close(void);
PyObject *request_collect(bool wait, uint64_t timeout_ns, bool in_place);

/* --- lifecycle.c -------------------------------------------------------------------------------- */

/* NULL; or why not, one phrase (no exception set), or "" with an exception set. */
const char *lifecycle_enable(bool fast_collect);
/* The managed heap, with or without the collector. As above; not being able to is no error of the collector's. */
const char *lifecycle_enable_heap(void);
void lifecycle_disable(void);
/* Notice a fork that no hook told about. Every entry from Python or from a tick calls it first. */
void lifecycle_check_process(void);
/* Is midden's automatic work wanted now? */
bool lifecycle_automatic(void);

#endif

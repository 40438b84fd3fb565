/* pacer.h: when to look for garbage, how much to hand over now, when to hold the program back.
 *
 * Invariant: the pacer decides and never acts. It is fed with counts of objects and with measured times,
 * it asks no clock and no system, and so it can be tested with made-up time. All times in nanoseconds, all
 * sizes in objects. Not thread-safe: it belongs to whoever holds the host's lock.
 *
 * What it keeps:
 *   old       objects of the oldest generation when the last full collection ended
 *   grown     how many it has gained since (promoted, less the deaths that were counted)
 *   middle    promoted since the last proposal among the recently promoted: the middle generation
 * A full snapshot is due when grown >= old / 4, with deaths counted: the clone counts the generation, and finds
 * out when it has not really grown. It is also due by CPython's own rule (gcmodule.c, "25 %"), which does
 * not count deaths, as long as that finds garbage.
 * docs/architecture.md, "The pacer", has the reasons and the figures behind the constants. */
#ifndef MIDDEN_PACER_H
#define MIDDEN_PACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pacer_action {
    PACER_REST,
    PACER_MIDDLE,   /* launch a snapshot that proposes among the recently promoted */
    PACER_FULL,     /* launch a snapshot that proposes among all, if the old have really grown */
    PACER_IN_PLACE, /* last resort: run the finder in the program */
    PACER_HOST      /* not even that worked: let the host collect by itself, once */
};

struct pacer {
    uint64_t old, grown, middle;
    uint64_t since_count;  /* promoted since the clone last counted the old generation */
    uint64_t since_launch; /* promoted since the snapshot in flight was launched */
    bool in_flight;
    double young_ns[2];   /* a young collection alone, by generation */
    double examine_ns;    /* one object of the middle, handed over whole */
    double reclaim_ns;    /* one candidate */
    double middle_factor; /* the middle's trigger, as a share of old / 8; adapts to its yield */
    unsigned whole_skip;  /* gen-1 collections to let pass before the middle is handed over whole */
    unsigned whole_backoff;
    uint64_t lump; /* what one gen-1 collection promotes, about */
    uint64_t launched_ns;
    uint64_t flight_ns; /* what the last flight cost the program: clone, page faults */
    uint64_t clone_ns;  /* of that, the clone call */
    uint64_t middle_ns; /* and what the last flight cost that looked at the middle alone */
    uint64_t landed_ns; /* when the last one landed */
    unsigned failures;  /* in a row */
    uint64_t window;    /* promoted since the last launch; and between the two before that */
    uint64_t launched_window;
    double share;        /* of what was promoted between two launches, what was garbage */
    uint64_t since_full; /* promoted since all were last looked at, deaths not counted */
    double full_factor;  /* that many old ones, as a share, are due for a look; adapts to its yield */
    unsigned lumps;      /* collections of generation 1 that promoted, since then */
    bool in_vain;        /* the last clone that counted found no growth */
    bool hasty;          /* too large a heap to be handed over whole, but it cannot wait for a flight */
    bool whole_within;   /* between pacer_whole_taken and pacer_whole_done */
    uint64_t retry_ns;   /* no snapshot before */
    bool in_place_failed;
};

#define PACER_SLICE_NS 1000000u /* what a slice may add to a young collection: aim */
#define PACER_LIMIT_NS 2000000u /* and limit, of a slice and of a nap */

/* old: objects in the oldest generation at the last full collection; grown: promoted since. */
void pacer_start(struct pacer *pacer, uint64_t old, uint64_t grown);
/* What a flight is likely to cost, before one was measured: the first one waits for as long, too. */
void pacer_expect(struct pacer *pacer, uint64_t flight_ns, uint64_t now_ns);

/* A young collection has promoted so many objects into the oldest generation. */
void pacer_promoted(struct pacer *pacer, uint64_t objects);
/* A young collection (generation 0 or 1) with nothing of ours in it took so long. */
void pacer_young(struct pacer *pacer, int generation, uint64_t ns);

/* Before a collection of generation 1: the most objects of the middle to hand over whole, without any
 * search (the host examines them in the collection that runs anyway); 0: none. *all: take the whole oldest
 * generation if it is no more than that. */
uint64_t pacer_whole(struct pacer *pacer, bool *all);
/* That was done (0: there were none): so many objects were taken out of the old generation and handed over. */
void pacer_whole_taken(struct pacer *pacer, uint64_t objects, bool all);
/* It was not done: there are more than `most` of them (gc.unfreeze() gives back what nobody counted). */
void pacer_whole_refused(struct pacer *pacer, uint64_t most, bool all);
/* And the collection with them has ended: its time, its survivors (already told by pacer_promoted). */
void pacer_whole_done(struct pacer *pacer, uint64_t objects, uint64_t survivors, uint64_t ns, bool all);

/* After a young collection: what to do now? With a snapshot in flight: PACER_REST or PACER_IN_PLACE. */
enum pacer_action pacer_decide(struct pacer *pacer, uint64_t now_ns);
/* A full snapshot is to look at all only if there are so many old objects; 0: in any case. */
uint64_t pacer_grown_at(const struct pacer *pacer);
void pacer_launched(struct pacer *pacer, uint64_t clone_ns, uint64_t now_ns);
/* The answer is in. full: it proposed among all. counted: objects in the oldest generation at the
 * snapshot, or 0 when the clone did not count. looked_at: objects in the set. */
void pacer_landed(struct pacer *pacer, bool full, uint64_t counted, uint64_t looked_at, uint64_t garbage);
/* What the flight cost the program besides the clone call. */
void pacer_cost(struct pacer *pacer, uint64_t ns);
/* All candidates are handed over. */
void pacer_ended(struct pacer *pacer, uint64_t now_ns);
/* It failed, or was given up (counts as a failure only if failed). */
void pacer_failed(struct pacer *pacer, bool in_place, uint64_t now_ns);
void pacer_given_up(struct pacer *pacer, uint64_t now_ns);
/* The host has collected all generations: so many old objects remain. */
void pacer_host_collected(struct pacer *pacer, uint64_t old);

/* How many candidates to hand over in the young collection that starts now (components are not split). */
size_t pacer_slice(const struct pacer *pacer);
void pacer_sliced(struct pacer *pacer, int generation, size_t handed, uint64_t ns);

/* How long to hold the program back after this young collection: 0 .. PACER_LIMIT_NS. */
uint64_t pacer_nap(const struct pacer *pacer);

#endif

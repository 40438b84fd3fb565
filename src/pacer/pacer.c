/* pacer.c: the decisions. Each function is one rule; pacer.h says what feeds it. */
#include "pacer.h"

/* Fewer promoted objects than this are never worth a search: CPython's first threshold, times three. */
#define FEW 2000u
/* What a flight costs the program itself, the clone call and the page faults, may be this share of its time. */
#define FLIGHT_SHARE 25u
/* Up to this much the host may as well look at the whole old generation: a clone costs a program with a small
 * heap more, in page faults. The host's own full collection would take the same time. */
#define ALL_NS 20000000u
#define HASTY 2u /* that much more when the next flight may not start yet, and cannot wait either */
#define RETRY_NS 100000000u /* after the first failure; doubles up to 64 times that */
#define HOST_THRESHOLD 10u  /* CPython's: so many collections of generation 1 to one of all */
#define EXAMINE_NS 100      /* one object of it, until measured */
#define WHOLE_NS 1500000u   /* what handing the middle over whole may add */
/* How long a flight may take, at least and by object, before growth makes it hopeless: as long as it may take
 * at all (collector.c). A finder so slow would not be faster in the program. */
#define HOPELESS_NS 2000000000u
#define HOPELESS_NS_PER_OBJECT 5000u

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

/* Costs rise at once and fall slowly: one expensive slice is a warning, a cheap one is luck. */
static double learn(double known, double seen)
{
    return seen > known ? (known + seen) / 2 : known * 0.9 + seen * 0.1;
}

static uint64_t whole_limit(const struct pacer *pacer)
{
    return (uint64_t)(WHOLE_NS / pacer->examine_ns);
}

static uint64_t all_limit(const struct pacer *pacer)
{
    return (uint64_t)(ALL_NS / pacer->examine_ns);
}

/* By what was promoted, deaths not counted: the host's own rule, with a threshold that rises as long as it
 * leads to nothing. */
static bool stale(const struct pacer *pacer)
{
    return (double)pacer->since_full >= pacer->full_factor * (double)pacer->old && pacer->since_full >= FEW;
}

/* By how much there is now, as far as is known. */
static bool grown(const struct pacer *pacer)
{
    double factor = clamp(pacer->full_factor, 0.25, 0.5);
    return (double)pacer->grown >= factor * (double)pacer->old && pacer->grown >= FEW &&
           pacer->since_count >= larger(pacer->old / 8, FEW);
}

static bool full_due(const struct pacer *pacer)
{
    /* Not more often than the host, unless the heap is about to become too large to be looked at whole. */
    bool small = pacer->old + pacer->grown <= all_limit(pacer) / 2;
    return (pacer->lumps > HOST_THRESHOLD || !small) && (stale(pacer) || grown(pacer));
}

static void full_done(struct pacer *pacer, uint64_t looked_at, uint64_t garbage)
{
    pacer->lumps = 0;
    pacer->since_full = pacer->in_flight ? pacer->since_launch : 0;
    pacer->full_factor = clamp(pacer->full_factor * (garbage < looked_at / 50 ? 2 : 0.5), 0.25, 2);
}

/* Garbage outruns the finder, in spite of naps: the old generation has doubled since the launch. */
static bool hopeless(const struct pacer *pacer, uint64_t now_ns)
{
    uint64_t all = pacer->old + pacer->grown;
    return pacer->since_launch > all / 2 && pacer->since_launch > 4 * whole_limit(pacer) &&
           now_ns - pacer->launched_ns >
               HOPELESS_NS + HOPELESS_NS_PER_OBJECT * less(all, pacer->since_launch);
}

/* How much may be promoted while a snapshot flies before the program is held back. */
static uint64_t allowance(const struct pacer *pacer)
{
    return larger((pacer->old + pacer->grown) / 8, 4 * whole_limit(pacer));
}

/* How far above that: 0 .. 1. Only what will be garbage counts, by twice the share that it had last time: a
 * program that loads its data promotes much and is not to be held back, until it has added half of what
 * there was at launch. */
static double excess(const struct pacer *pacer)
{
    if (!pacer->in_flight)
        return 0;
    double allowed = (double)allowance(pacer), arisen = (double)pacer->since_launch;
    double garbage = clamp(2 * pacer->share, 0, 1) * arisen / allowed - 1, growth = arisen / allowed / 3 - 1;
    return clamp(garbage > growth ? garbage : growth, 0, 1);
}

void pacer_start(struct pacer *pacer, uint64_t old, uint64_t grown)
{
    *pacer = (struct pacer){
        .old = old,
        .grown = grown,
        .middle = grown,
        .since_count = grown,
        .since_full = grown,
        .full_factor = 0.25,
        .young_ns = {50000, 500000},
        .examine_ns = EXAMINE_NS,
        .reclaim_ns = 250,
        .middle_factor = 1,
        .share = 1,
    };
}

void pacer_expect(struct pacer *pacer, uint64_t flight_ns, uint64_t now_ns)
{
    pacer->flight_ns = pacer->middle_ns = flight_ns;
    pacer->landed_ns = now_ns;
}

void pacer_promoted(struct pacer *pacer, uint64_t objects)
{
    pacer->grown += objects;
    pacer->middle += objects;
    pacer->since_count += objects;
    pacer->window += objects;
    pacer->since_full += objects;
    pacer->lumps += objects != 0;
    if (objects != 0 && !pacer->whole_within) /* one of generation 0 promotes nothing */
        pacer->lump = (pacer->lump + objects) / 2;
    if (pacer->in_flight)
        pacer->since_launch += objects;
}

void pacer_young(struct pacer *pacer, int generation, uint64_t ns)
{
    double *known = &pacer->young_ns[generation == 1];
    *known = *known * 0.8 + (double)ns * 0.2;
    /* A cost so high that it forbids what would measure it is forgotten by and by. */
    if (generation == 1 && pacer->examine_ns > EXAMINE_NS)
        pacer->examine_ns = learn(pacer->examine_ns, EXAMINE_NS);
}

uint64_t pacer_whole(struct pacer *pacer, bool *all)
{
    uint64_t limit = whole_limit(pacer);
    uint64_t most = pacer->hasty ? HASTY * all_limit(pacer) : all_limit(pacer);
    *all = full_due(pacer) && pacer->old + pacer->grown <= most;
    pacer->hasty = false;
    if (*all)
        return most;
    if (pacer->old + pacer->grown <= all_limit(pacer))
        return 0; /* all of it will be looked at as soon */
    if (pacer->middle < FEW || pacer->middle > limit)
        return 0;
    if (pacer->middle < limit / 2 && pacer->middle + pacer->lump <= limit)
        return 0;
    if (pacer->whole_skip > 0) {
        pacer->whole_skip--;
        return 0;
    }
    return limit;
}

void pacer_whole_taken(struct pacer *pacer, uint64_t objects, bool all)
{
    pacer->grown = less(pacer->grown, objects);
    pacer->since_launch = less(pacer->since_launch, objects);
    pacer->since_count = less(pacer->since_count, objects);
    pacer->middle = 0;
    pacer->whole_within = objects != 0;
    if (all)
        pacer->old = pacer->grown = 0;
}

void pacer_whole_refused(struct pacer *pacer, uint64_t most, bool all)
{
    if (all)
        pacer->old = larger(pacer->old, most + 1);
    else
        pacer->middle = larger(pacer->middle, most + 1);
}

void pacer_whole_done(struct pacer *pacer, uint64_t objects, uint64_t survivors, uint64_t ns, bool all)
{
    if (objects >= FEW) {
        double extra = (double)ns - pacer->young_ns[1];
        pacer->examine_ns = clamp(learn(pacer->examine_ns, extra / (double)objects), 20, 5000);
    }
    pacer->middle = 0;
    pacer->whole_within = false;
    if (all) {
        pacer->old = survivors;
        pacer->grown = pacer->since_count = 0;
        full_done(pacer, objects, less(objects, survivors));
        return;
    }
    /* Few deaths: let pass 1, 2, 4 ... 16 occasions; the snapshots will look at these objects. */
    bool poor = less(survivors, pacer->lump) > objects - objects / 16;
    pacer->whole_backoff = !poor ? 0 : pacer->whole_backoff == 0 ? 1 : pacer->whole_backoff * 2;
    if (pacer->whole_backoff > 16)
        pacer->whole_backoff = 16;
    pacer->whole_skip = pacer->whole_backoff;
}

enum pacer_action pacer_decide(struct pacer *pacer, uint64_t now_ns)
{
    if (pacer->in_flight)
        return hopeless(pacer, now_ns) && !pacer->in_place_failed ? PACER_IN_PLACE : PACER_REST;
    uint64_t all = pacer->old + pacer->grown;
    bool full = full_due(pacer) && all > all_limit(pacer);
    if (pacer->failures >= 3 && pacer->grown >= larger(pacer->old / 2, FEW) && full)
        return pacer->in_place_failed ? PACER_HOST : PACER_IN_PLACE;
    if (now_ns < pacer->retry_ns)
        return PACER_REST;
    bool rested = now_ns - pacer->landed_ns > FLIGHT_SHARE * pacer->flight_ns;
    /* After a count in vain more, since deaths look like growth; but the rest is not to last whatever comes. */
    uint64_t much = pacer->in_vain ? larger(4 * pacer->old, 16 * whole_limit(pacer))
                                   : larger(pacer->old / 4, 4 * whole_limit(pacer));
    if (full && rested)
        return PACER_FULL;
    if (full && pacer->grown >= much) {
        pacer->hasty =
            all <= HASTY * all_limit(pacer); /* the host is to look at them, at the next occasion */
        return pacer->hasty ? PACER_REST : PACER_FULL;
    }
    rested = now_ns - pacer->landed_ns > FLIGHT_SHARE * larger(pacer->clone_ns, pacer->middle_ns);
    if (rested && all > all_limit(pacer) && pacer->middle > 2 * whole_limit(pacer) &&
        (double)pacer->middle > pacer->middle_factor * (double)(pacer->old / 8))
        return PACER_MIDDLE;
    return PACER_REST;
}

uint64_t pacer_grown_at(const struct pacer *pacer)
{
    return stale(pacer) ? 0 : pacer->old + pacer->old / 4;
}

void pacer_launched(struct pacer *pacer, uint64_t clone_ns, uint64_t now_ns)
{
    pacer->in_flight = true;
    pacer->launched_ns = now_ns;
    pacer->flight_ns = pacer->clone_ns = clone_ns;
    pacer->since_launch = 0;
    pacer->middle = 0;
    pacer->launched_window = pacer->window;
    pacer->window = 0;
}

void pacer_landed(struct pacer *pacer, bool full, uint64_t counted, uint64_t looked_at, uint64_t garbage)
{
    pacer->failures = 0;
    pacer->retry_ns = 0;
    pacer->in_place_failed = false;
    pacer->in_vain = !full && counted != 0;
    double share = pacer->launched_window == 0 ? 0 : (double)garbage / (double)pacer->launched_window;
    pacer->share = clamp(share, pacer->share / 2, 1);
    if (counted != 0)
        pacer->since_count = pacer->since_launch;
    if (full) {
        full_done(pacer, counted, garbage);
        pacer->old = less(counted, garbage);
        pacer->grown = pacer->since_launch;
    } else if (counted != 0) { /* it had not really grown: most of what was promoted has died */
        if (counted < pacer->old)
            pacer->old = counted;
        pacer->grown = less(counted, pacer->old) + pacer->since_launch;
    } else {
        pacer->grown = less(pacer->grown, garbage);
    }
    if (!full)
        pacer->middle_ns = pacer->flight_ns;
    if (!full && looked_at > 0) {
        double yield = (double)garbage / (double)looked_at;
        if (yield < 0.05)
            pacer->middle_factor *= 2;
        else if (yield > 0.2)
            pacer->middle_factor /= 2;
        pacer->middle_factor = clamp(pacer->middle_factor, 0.25, 2);
    }
}

void pacer_cost(struct pacer *pacer, uint64_t ns)
{
    pacer->flight_ns += ns;
}

void pacer_ended(struct pacer *pacer, uint64_t now_ns)
{
    pacer->in_flight = false;
    pacer->landed_ns = now_ns;
    pacer->since_launch = 0;
}

void pacer_failed(struct pacer *pacer, bool in_place, uint64_t now_ns)
{
    pacer_given_up(pacer, now_ns);
    if (in_place)
        pacer->in_place_failed = true;
    unsigned doublings = pacer->failures < 6 ? pacer->failures : 6;
    pacer->failures++;
    pacer->retry_ns = now_ns + ((uint64_t)RETRY_NS << doublings);
}

void pacer_given_up(struct pacer *pacer, uint64_t now_ns)
{
    pacer->in_flight = false;
    pacer->since_launch = 0;
    pacer->landed_ns = now_ns;
}

void pacer_host_collected(struct pacer *pacer, uint64_t old)
{
    pacer->old = old;
    pacer->grown = pacer->middle = pacer->since_count = pacer->since_launch = pacer->since_full = 0;
    pacer->lumps = 0;
    pacer->failures = 0;
    pacer->in_place_failed = false;
}

size_t pacer_slice(const struct pacer *pacer)
{
    double behind = excess(pacer);
    size_t slice = (size_t)clamp(PACER_SLICE_NS * (1 + behind) / pacer->reclaim_ns, 64, 100000);
    /* Far behind, memory matters more than the pause: what is reclaimed between two lumps is more than one. */
    size_t least = behind < 1 ? 0 : (size_t)(pacer->lump / 4);
    return slice > least ? slice : least;
}

void pacer_sliced(struct pacer *pacer, int generation, size_t handed, uint64_t ns)
{
    if (handed < 64)
        return;
    double extra = (double)ns - pacer->young_ns[generation == 1];
    pacer->reclaim_ns = clamp(learn(pacer->reclaim_ns, extra / (double)handed), 20, 20000);
}

uint64_t pacer_nap(const struct pacer *pacer)
{
    return (uint64_t)(PACER_LIMIT_NS * excess(pacer));
}

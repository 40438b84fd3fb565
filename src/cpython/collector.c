/* collector.c: launching a flight, landing it, handing its candidates over, counting what became of them. */
#include "collector.h"

#include "compaction.h"
#include "platform/platform.h"
#include "record.h"
#include "roster.h"

struct collector collector;

#define LEAST_ROOM ((size_t)1 << 16) /* candidates: fewer are not worth a clone */
#define BYTES_PER_OBJECT 48u         /* the smallest tracked object, with its links and header */
#define TIMEOUT_NS ((uint64_t)30 * 1000 * 1000 * 1000)
#define TIMEOUT_NS_PER_OBJECT 5000u /* ten times what the finder needs on a loaded machine */
#define TORTURE_SLICE 100u

/* --- the end of a flight ------------------------------------------------------------------------ */

static void end_flight(void)
{
    struct collector *c = &collector;
    if (c->requested)
        c->asked_for = c->outcome;
    if (c->flight != FLIGHT_NONE) {
        c->cow_faults += platform_page_faults() - c->faults_before;
        compaction_mend();
    }
    idle_stop();
    snapshot_release(&c->snapshot);
    record_disarm();
    platform_unmap(c->pages, c->pages_bytes);
    c->pages = NULL;
    c->pages_bytes = 0;
    c->candidates = NULL;
    c->count = c->next = c->slice_begin = c->slice_handed = 0;
    c->requested = false;
    c->flight = FLIGHT_NONE;
}

static void fail(const char *why, bool in_place)
{
    struct collector *c = &collector;
    c->snapshots_failed++;
    c->last_failure = why;
    c->outcome.failed = true;
    pacer_failed(&c->pacer, in_place, platform_now_ns());
    end_flight();
}

void collector_give_up(void)
{
    struct collector *c = &collector;
    if (c->flight == FLIGHT_NONE)
        return;
    if (c->snapshot.state == SNAPSHOT_FLYING)
        snapshot_poll(&c->snapshot);
    c->outcome.given_up = true;
    pacer_given_up(&c->pacer, platform_now_ns());
    end_flight();
}

void collector_forked(void)
{
    struct collector *c = &collector;
    idle_forget();
    snapshot_forget(&c->snapshot);
    if (c->flight != FLIGHT_NONE) {
        c->outcome.given_up = true;
        pacer_given_up(&c->pacer, platform_now_ns());
        end_flight();
    }
}

/* --- launch ------------------------------------------------------------------------------------- */

static void new_outcome(void)
{
    uint64_t serial = collector.outcome.serial + 1;
    collector.outcome = (struct outcome){.serial = serial};
}

/* Room for as many candidates as there can be objects. It is address space: pages come as they are used. */
static size_t room_for_candidates(void)
{
    size_t room = platform_resident_bytes() / BYTES_PER_OBJECT;
    return room > LEAST_ROOM ? room : LEAST_ROOM;
}

bool collector_launch(enum finder_scope scope, uint64_t grown_at, bool requested)
{
    struct collector *c = &collector;
    new_outcome();
    compaction_mend_no_more();
    c->snapshots++;
    c->requested = requested;
    if (!record_arm()) {
        fail("the allocator cannot be hooked", false);
        return false;
    }
    c->frozen = gcstate_frozen(&c->gc);
    c->order = (struct finder_order){.gc = &c->gc,
                                     .scope = scope,
                                     .grown_at = grown_at,
                                     .roster = scope == FINDER_FULL && roster_ready(&c->gc)};
    uint64_t timeout_ns = c->timeout_ns;
    if (timeout_ns == 0)
        timeout_ns = TIMEOUT_NS + TIMEOUT_NS_PER_OBJECT * (c->pacer.old + c->pacer.grown);
    snapshot_launch(&c->snapshot, finder_job, &c->order, room_for_candidates(), LEAST_ROOM, timeout_ns);
    if (c->snapshot.clone_ns != 0)
        pauses_add(&c->pauses[PAUSE_CLONE], c->snapshot.clone_ns);
    if (c->snapshot.state == SNAPSHOT_FAILED) {
        fail(snapshot_failure_name(c->snapshot.failure), false);
        return false;
    }
    c->outcome.clone_ns = c->snapshot.clone_ns;
    c->faults_before = platform_page_faults();
    c->flight = FLIGHT_SEARCHING;
    gcstate_mark(&c->gc);
    pacer_launched(&c->pacer, c->snapshot.clone_ns, platform_now_ns());
    idle_start();
    return true;
}

/* --- landing ------------------------------------------------------------------------------------ */

static void land(const uint64_t *candidates, size_t count, const struct finder_result *result)
{
    struct collector *c = &collector;
    c->candidates = candidates;
    c->count = count;
    c->next = 0;
    if (c->flight == FLIGHT_SEARCHING)
        pacer_cost(&c->pacer, (platform_page_faults() - c->faults_before) * COLLECTOR_FAULT_NS);
    else
        c->faults_before = platform_page_faults();
    c->flight = FLIGHT_RECLAIMING;
    c->candidates_total += count;
    c->outcome.found = count;
    c->outcome.find_ns = result->search_ns;
    c->find_ns += result->search_ns;
    if (result->graph.memory_bytes > c->child_bytes)
        c->child_bytes = result->graph.memory_bytes;
    pacer_landed(&c->pacer, result->full, result->counted, result->graph.objects, count);
}

static void reclaimed_all(void)
{
    pacer_ended(&collector.pacer, platform_now_ns());
    end_flight();
}

void collector_look(void)
{
    struct collector *c = &collector;
    if (c->flight != FLIGHT_SEARCHING)
        return;
    struct finder_result result;
    switch (snapshot_poll(&c->snapshot)) {
    case SNAPSHOT_FLYING:
    case SNAPSHOT_IDLE: break;
    case SNAPSHOT_ANSWERED:
        c->child_cpu_ns += c->snapshot.answer->cpu_ns;
        finder_told(c->snapshot.answer, &result);
        land(c->snapshot.answer->words, c->snapshot.answer->count, &result);
        if (c->count == 0)
            reclaimed_all();
        break;
    case SNAPSHOT_FAILED:
        c->child_cpu_ns += c->snapshot.cpu_ns;
        if (c->snapshot.failure == SNAPSHOT_JOB_FAILED)
            fail(graph_status_name((enum graph_status)c->snapshot.answer->job_status), false);
        else
            fail(snapshot_failure_name(c->snapshot.failure), false);
        break;
    }
}

bool collector_search_in_place(void)
{
    struct collector *c = &collector;
    uint64_t start_ns = platform_now_ns();
    new_outcome();
    c->fallbacks++;
    if (!record_arm()) {
        fail("the allocator cannot be hooked", true);
        return false;
    }
    struct finder_order order = {.gc = &c->gc, .scope = FINDER_FULL, .roster = roster_ready(&c->gc)};
    struct finder_result result;
    struct graph *graph;
    enum graph_status status = finder_search(&order, &graph, &result);
    if (status == GRAPH_OK) {
        size_t bytes = (result.graph.garbage + 1) * sizeof(uint64_t);
        uint64_t *pages = platform_map(bytes);
        if (pages != NULL) {
            c->pages = pages;
            c->pages_bytes = bytes;
            c->frozen = gcstate_frozen(&c->gc);
            gcstate_mark(&c->gc);
            pacer_launched(&c->pacer, 0, platform_now_ns());
            land(pages, graph_emit(graph, pages, result.graph.garbage), &result);
        } else {
            status = GRAPH_NO_MEMORY;
        }
        graph_free(graph);
    }
    pauses_add(&c->pauses[PAUSE_FULL], platform_now_ns() - start_ns);
    if (status != GRAPH_OK) {
        fail(graph_status_name(status), true);
        return false;
    }
    if (c->count == 0)
        reclaimed_all();
    else
        idle_start();
    return true;
}

/* --- handing over ------------------------------------------------------------------------------- */

/* Where the slice that begins at `next` ends: after so many candidates, but not within a component. */
static size_t slice_end(size_t wanted)
{
    const struct collector *c = &collector;
    if (wanted >= c->count - c->next)
        return c->count;
    size_t end = c->next + wanted;
    while (end < c->count && (c->candidates[end] & GRAPH_FIRST) == 0)
        end++;
    return end;
}

void collector_hand_over(int generation)
{
    struct collector *c = &collector;
    if (!record_intact()) {
        fail("somebody took the allocator's hook away", false);
        return;
    }
    if (gcstate_frozen(&c->gc) != c->frozen) {
        collector_give_up(); /* gc.freeze(): what is frozen is to stay so */
        return;
    }
    size_t wanted = c->torture ? TORTURE_SLICE : pacer_slice(&c->pacer);
    size_t end = slice_end(wanted);
    if (end - c->next > 2 * wanted)
        c->oversized++;
    struct gc_links *list = gcstate_head(&c->gc, generation);
    c->slice_begin = c->next;
    for (size_t i = c->next; i < end; i++) {
        if (i + 16 < end) {
            record_prefetch(finder_block(c->candidates[i + 16]));
            __builtin_prefetch(finder_links(c->candidates[i + 16]));
        }
        struct gc_links *links = finder_links(c->candidates[i]);
        if (!record_freed(finder_block(c->candidates[i])) && gcstate_tracked(links)) {
            gcstate_move(links, list);
            c->slice_handed++;
        }
    }
    c->next = end;
}

void collector_account(int generation, uint64_t ns)
{
    struct collector *c = &collector;
    if (!record_intact()) {
        fail("somebody took the allocator's hook away", false);
        return;
    }
    size_t reclaimed = 0;
    for (size_t i = c->slice_begin; i < c->next; i++) {
        if (i + 16 < c->next)
            record_prefetch(finder_block(c->candidates[i + 16]));
        uint64_t candidate = c->candidates[i];
        /* Untracked: it rests in a free list of its type. */
        if (record_freed(finder_block(candidate)) || !gcstate_tracked(finder_links(candidate)))
            reclaimed++;
    }
    c->outcome.reclaimed += reclaimed;
    c->outcome.reclaim_ns += ns;
    c->reclaimed_total += reclaimed;
    if (c->usual)
        pacer_sliced(&c->pacer, generation, c->slice_handed, ns);
    c->slice_begin = c->next;
    c->slice_handed = 0;
    if (c->next == c->count)
        reclaimed_all();
}

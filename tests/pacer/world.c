/* world.c: the model of a program, and the pacer's two callers, retold in made-up time. */
#include "world.h"

#include <string.h>

#define SEARCH_BASE_NS 1000000.0 /* the clone's start and end */
#define ALL_LIMIT_NS \
    40000000.0            /* pacer.c: the whole old generation by the host: 20 ms, and twice that in haste */
#define FAULT_NS 3000.0   /* collector.c: a page fault */
#define REST 25.0         /* pacer.c: flights may take that share of the time */
#define PAGE_OBJECTS 40.0 /* objects of 100 bytes */

/* --- people -------------------------------------------------------------------------------------------- */

double people_all(const struct people *people)
{
    return people->staying + people->counted + people->cyclic + people->garbage;
}

static void join(struct people *to, struct people *from)
{
    to->staying += from->staying;
    to->counted += from->counted;
    to->cyclic += from->cyclic;
    to->garbage += from->garbage;
    *from = (struct people){0};
}

static void age(struct people *people, double share)
{
    people->counted -= people->counted * share;
    people->garbage += people->cyclic * share;
    people->cyclic -= people->cyclic * share;
}

/* A lump comes from the young lists, each object with its fate. */
static void promote(struct heap *heap, const struct program *program, double lump)
{
    double counted = program->counted, cyclic = program->cyclic;
    if (heap->old.staying + heap->middle.staying >= program->staying_most) {
        double both = counted + cyclic;
        counted = both > 0 ? counted / both : 1;
        cyclic = 1 - counted;
    }
    heap->middle.counted += lump * counted + heap->wrong;
    heap->middle.cyclic += lump * cyclic;
    heap->middle.staying += lump * (1 - counted - cyclic);
    heap->young = heap->wrong = 0;
}

static void remember_most(struct heap *heap)
{
    double all = people_all(&heap->old) + people_all(&heap->middle);
    if (all > heap->most)
        heap->most = all;
}

/* --- the flight: collector.c --------------------------------------------------------------------------- */

static double all_old(const struct world *world)
{
    return people_all(&world->ours.old) + people_all(&world->ours.middle);
}

static void spend(struct world *world, double ns)
{
    assert_true(ns >= 0);
    world->now_ns += (uint64_t)ns;
}

static void mark(struct world *world)
{
    join(&world->ours.old, &world->ours.middle);
}

/* Pages that the program writes to while the clone shares them are copied, each once: the young ones, and
 * those of old objects whose counts change, anywhere. */
static void copy_pages(struct world *world)
{
    if (world->flight != FLIGHT_SEARCHING)
        return;
    const struct program *program = &world->program;
    double pages = all_old(world) / PAGE_OBJECTS + 1, left = fmax(pages - world->faults, 0);
    double faults = left * (1 - exp(-program->young * world->machine.touched / pages));
    if (world->young_faults < program->young * program->middle)
        faults += program->young / PAGE_OBJECTS;
    world->young_faults += program->young;
    world->faults += faults;
    world->fault_total_ns += faults * FAULT_NS;
    world->flight_ns += faults * FAULT_NS;
    spend(world, faults * FAULT_NS);
}

static void end_flight(struct world *world)
{
    if (world->flight != FLIGHT_NONE) {
        world->ended_ns = world->now_ns;
        world->flight_longest_ns = fmax(world->flight_longest_ns, world->flight_ns);
        world->vain_total_ns += world->hasty_vain ? world->flight_ns : 0;
    }
    world->flight = FLIGHT_NONE;
    world->candidates = world->next = world->slice = 0;
}

static void failed(struct world *world, bool in_place)
{
    world->failed++;
    pacer_failed(&world->pacer, in_place, world->now_ns);
    end_flight(world);
}

static void give_up(struct world *world)
{
    if (world->flight == FLIGHT_NONE)
        return;
    pacer_given_up(&world->pacer, world->now_ns);
    end_flight(world);
}

/* What a search finds: the same whether it is told now or when the clone lands. */
static void look(struct world *world, bool full)
{
    struct heap *ours = &world->ours;
    world->found_full = full;
    world->looked_at = people_all(&ours->middle) + ours->young + (full ? people_all(&ours->old) : 0);
    world->candidates = floor(ours->middle.garbage + (full ? ours->old.garbage : 0));
    world->next = 0;
}

/* Was the program left in peace after the last flight, and has this one anything to find? */
static void judge(struct world *world, bool full, double clone_ns)
{
    double all = all_old(world), since_ns = (double)(world->now_ns - world->ended_ns) - clone_ns;
    bool vain = world->candidates < 0.02 * all;
    world->hasty = since_ns <= REST * world->flight_ns;
    world->hasty_vain = world->hasty && vain && all < 1.25 * world->settled;
    world->hasty_count += world->hasty;
    world->full_vain += full && vain;
    world->settled = full ? all - world->candidates : fmin(world->settled, all);
    world->flight_ns = clone_ns;
}

static void launch(struct world *world, bool full, double grown_at)
{
    assert_int_equal(world->flight, FLIGHT_NONE);
    *(full ? &world->full : &world->middle) += 1;
    if (world->no_clone) {
        failed(world, false);
        return;
    }
    const struct machine *machine = &world->machine;
    double all = all_old(world), clone_ns = machine->clone_base_ns + machine->clone_ns * all;
    world->found_counted = full ? floor(all) : 0;
    if (full && all < grown_at) {
        world->counted_only++;
        full = false;
    }
    look(world, full);
    spend(world, clone_ns);
    world->clone_total_ns += clone_ns;
    world->lands_ns = world->now_ns + (uint64_t)(SEARCH_BASE_NS + machine->count_ns * world->found_counted +
                                                 machine->find_ns * world->looked_at);
    world->flight = FLIGHT_SEARCHING;
    world->faults = world->young_faults = 0;
    judge(world, full, clone_ns);
    mark(world);
    pacer_launched(&world->pacer, (uint64_t)clone_ns, world->now_ns);
}

static void land(struct world *world)
{
    if (world->flight == FLIGHT_SEARCHING)
        pacer_cost(&world->pacer, (uint64_t)(world->faults * FAULT_NS));
    world->flight = FLIGHT_RECLAIMING;
    pacer_landed(&world->pacer, world->found_full, (uint64_t)world->found_counted, (uint64_t)world->looked_at,
                 (uint64_t)world->candidates);
    if (world->candidates == 0) {
        pacer_ended(&world->pacer, world->now_ns);
        end_flight(world);
    }
}

static void search_in_place(struct world *world)
{
    assert_int_equal(world->flight, FLIGHT_NONE);
    world->in_place++;
    double ns = world->machine.find_ns * all_old(world);
    world->in_place_ns += ns;
    spend(world, ns);
    world->hasty_vain = false;
    world->flight_ns = 0;
    if (world->no_memory) {
        failed(world, true);
        return;
    }
    world->found_counted = floor(all_old(world));
    look(world, true);
    mark(world);
    pacer_launched(&world->pacer, 0, world->now_ns);
    land(world);
}

static void hand_over(struct world *world)
{
    double wanted = (double)pacer_slice(&world->pacer);
    assert_true(wanted >= 1);
    if (wanted * world->pacer.reclaim_ns > PACER_LIMIT_NS) /* only when nothing else holds memory */
        assert_int_equal(pacer_nap(&world->pacer), PACER_LIMIT_NS);
    double slice = ceil(wanted / world->machine.component) * world->machine.component;
    if (slice > world->candidates - world->next)
        slice = world->candidates - world->next;
    world->next += slice;
    if (slice > world->ours.old.garbage) /* freed meanwhile: the record knows */
        slice = world->ours.old.garbage;
    world->slice = slice;
    world->ours.old.garbage -= slice;
    world->ours.wrong += slice * world->machine.wrong;
    world->reclaimed += slice * (1 - world->machine.wrong);
}

/* --- the tick: ticks.c --------------------------------------------------------------------------------- */

/* Returns how many were taken; *survivors are what is left of them, and *ns what it costs. */
static double take_whole(struct world *world, bool *all, struct people *survivors, double *ns)
{
    double most = (double)pacer_whole(&world->pacer, all);
    struct heap *ours = &world->ours;
    double count = floor(people_all(&ours->middle) + (*all ? people_all(&ours->old) : 0));
    if (most == 0 || count > most || count < 1)
        return 0;
    assert_true(count * world->pacer.examine_ns <= (*all ? ALL_LIMIT_NS : PACER_LIMIT_NS));
    *survivors = (struct people){0};
    join(survivors, &ours->middle);
    if (*all)
        join(survivors, &ours->old);
    *ns = world->machine.examine_ns * count + world->machine.reclaim_ns * survivors->garbage;
    world->reclaimed += survivors->garbage;
    survivors->garbage = 0;
    world->whole++;
    world->whole_all += *all;
    world->whole_ns += *ns;
    world->whole_longest_ns = fmax(world->whole_longest_ns, *ns);
    pacer_whole_taken(&world->pacer, (uint64_t)count, *all);
    return count;
}

static void host_collect(struct world *world)
{
    world->host++;
    pacer_host_collected(&world->pacer, world->pacer.old + world->pacer.grown);
    spend(world, world->machine.examine_ns * all_old(world));
    world->ours.old.garbage = world->ours.middle.garbage = 0;
    give_up(world);
    mark(world);
    pacer_host_collected(&world->pacer, (uint64_t)all_old(world));
}

static void decide(struct world *world)
{
    switch (pacer_decide(&world->pacer, world->now_ns)) {
    case PACER_REST: break;
    case PACER_MIDDLE: launch(world, false, 0); break;
    case PACER_FULL: launch(world, true, (double)pacer_grown_at(&world->pacer)); break;
    case PACER_IN_PLACE:
        if (world->flight == FLIGHT_RECLAIMING)
            break;
        give_up(world);
        search_in_place(world);
        break;
    case PACER_HOST:
        assert_int_equal(world->flight, FLIGHT_NONE);
        host_collect(world);
        break;
    }
}

static void collect(struct world *world, int generation, double lump)
{
    struct heap *ours = &world->ours;
    const struct machine *machine = &world->machine;
    struct people survivors = {0};
    double whole = 0, whole_ns = 0;
    bool all = false;
    if (world->flight == FLIGHT_SEARCHING && world->now_ns >= world->lands_ns)
        land(world);
    world->slice = 0;
    bool with_slice = world->flight == FLIGHT_RECLAIMING;
    if (with_slice)
        hand_over(world);
    else if (generation == 1)
        whole = take_whole(world, &all, &survivors, &whole_ns);

    double slice_ns = world->slice * machine->reclaim_ns;
    double ns =
        whole_ns + slice_ns + machine->young_ns * (world->program.young + (generation ? ours->young : 0));
    spend(world, ns);
    world->reclaim_ns += slice_ns;
    world->slice_longest_ns = fmax(world->slice_longest_ns, slice_ns);
    double promoted = generation == 1 ? floor(lump + ours->wrong + people_all(&survivors)) : 0;
    join(&ours->middle, &survivors); /* first: promote() asks how many stay */
    if (generation == 1)
        promote(ours, &world->program, lump);
    world->promoted += promoted;

    pacer_promoted(&world->pacer, (uint64_t)promoted);
    if (whole != 0) {
        pacer_whole_done(&world->pacer, (uint64_t)whole, (uint64_t)promoted, (uint64_t)ns, all);
        mark(world);
    }
    if (with_slice)
        pacer_sliced(&world->pacer, generation, (size_t)world->slice, (uint64_t)ns);
    else if (whole == 0)
        pacer_young(&world->pacer, generation, (uint64_t)ns);
    if (world->flight == FLIGHT_RECLAIMING && world->next == world->candidates) {
        pacer_ended(&world->pacer, world->now_ns);
        end_flight(world);
    }
    decide(world);
    uint64_t nap_ns = world->flight == FLIGHT_SEARCHING ? pacer_nap(&world->pacer) : 0;
    assert_true(nap_ns <= PACER_LIMIT_NS);
    world->nap_total_ns += (double)nap_ns;
    spend(world, (double)nap_ns);
}

/* CPython by itself: gc_select_generation. */
static void collect_theirs(struct world *world, int generation, double lump)
{
    struct heap *theirs = &world->theirs;
    if (generation == 0)
        return;
    promote(theirs, &world->program, lump);
    world->pending += lump;
    remember_most(theirs);
    if (++world->gen2 > world->program.middle && world->pending >= world->total / 4) {
        world->their_full_ns +=
            world->machine.examine_ns * (people_all(&theirs->old) + people_all(&theirs->middle)) +
            world->machine.reclaim_ns * (theirs->old.garbage + theirs->middle.garbage);
        theirs->middle.garbage = theirs->old.garbage = 0;
        join(&theirs->old, &theirs->middle);
        theirs->fulls++;
        world->total = people_all(&theirs->old);
        world->pending = world->gen2 = 0;
    }
}

/* --- the program --------------------------------------------------------------------------------------- */

void world_turn(struct world *world)
{
    const struct program *program = &world->program;
    double share = 1 - exp(-program->young / program->lifetime);
    struct heap *heaps[] = {&world->ours, &world->theirs};
    world->turns++;
    int generation = ++world->gen1 > program->middle;
    spend(world, program->young * program->allocate_ns);
    copy_pages(world);
    for (int i = 0; i < 2; i++) {
        age(&heaps[i]->old, share);
        age(&heaps[i]->middle, share);
        heaps[i]->young += program->young * program->survive;
    }
    double lump = 0;
    if (generation == 1) {
        world->gen1 = 0;
        random_state = world->random;
        lump = world->ours.young * (1 + program->uneven * (2 * random_share() - 1));
        world->random = random_state;
    }
    collect_theirs(world, generation, lump);
    collect(world, generation, lump);
    remember_most(&world->ours);
}

void world_run(struct world *world, double allocations)
{
    for (double done = 0; done < allocations; done += world->program.young)
        world_turn(world);
}

void world_start(struct world *world, double staying)
{
    world->ours.old.staying = world->theirs.old.staying = world->total = staying;
    world->ours.most = world->theirs.most = staying;
    pacer_start(&world->pacer, (uint64_t)staying, 0);
}

void world_ordinary(struct world *world, bool large_young)
{
    *world = (struct world){
        .program =
            {
                .young = large_young ? 2000 : 700,
                .middle = 10,
                .allocate_ns = 300,
                .survive = 0.2,
                .uneven = 0.5,
                .counted = 0.7,
                .cyclic = 0.3,
                .lifetime = 1e6,
                .staying_most = 1e18,
            },
        .machine =
            {
                .young_ns = 40,
                .examine_ns = 80,
                .reclaim_ns = 250,
                .find_ns = 300,
                .count_ns = 20,
                .clone_base_ns = 1e6,
                .clone_ns = 1,
                .touched = 0.05,
                .component = 1,
            },
        .now_ns = 1000000000,
    };
    world_start(world, 0);
}

void world_tell(const struct world *world)
{
    const struct program *p = &world->program;
    const struct machine *m = &world->machine;
    double seconds = (double)world->now_ns / 1e9 - 1, all = seconds * 1e9;
    printf("young %.0f allocate %.0f ns survive %.2f uneven %.2f counted %.2f cyclic %.2f lifetime %.3g most "
           "%.3g\n",
           p->young, p->allocate_ns, p->survive, p->uneven, p->counted, p->cyclic, p->lifetime,
           p->staying_most);
    printf("  ns: young %.0f examine %.0f reclaim %.0f find %.0f count %.0f clone %.3g + %.2f; touched %.3f "
           "wrong %.2f component %.0f\n",
           m->young_ns, m->examine_ns, m->reclaim_ns, m->find_ns, m->count_ns, m->clone_base_ns, m->clone_ns,
           m->touched, m->wrong, m->component);
    printf("  %.1f s: full %u (counted only %u, in vain %u) middle %u in place %u host %u failed %u whole %u "
           "(all %u) "
           "their fulls %.0f\n",
           seconds, world->full, world->counted_only, world->full_vain, world->middle, world->in_place,
           world->host, world->failed, world->whole, world->whole_all, world->theirs.fulls);
    printf("  share of time: clone %.3f faults %.3f nap %.3f whole %.3f reclaim %.3f, their fulls %.3f; "
           "slice %.2f ms; most %.3g, theirs "
           "%.3g: %.2f\n",
           world->clone_total_ns / all, world->fault_total_ns / all, world->nap_total_ns / all,
           world->whole_ns / all, world->reclaim_ns / all, world->their_full_ns / all,
           world->slice_longest_ns / 1e6, world->ours.most, world->theirs.most,
           world->ours.most / fmax(world->theirs.most, 1));
}

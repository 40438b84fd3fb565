/* test_worlds.c: the pacer in many made-up programs: memory against CPython's own rule, how many clones, how
 * many searches in place, and what happens when clones fail. world.c asserts the rest at every turn. */
#include "world.h"

static struct world world;

/* The last world of each test is told, which after a failure is the one that failed. */
static int tell(void **state)
{
    world_tell(&world);
    return random_tell(state);
}

static double live(const struct heap *heap)
{
    return people_all(&heap->old) + people_all(&heap->middle) - heap->old.garbage - heap->middle.garbage;
}

static double garbage(const struct heap *heap)
{
    return heap->old.garbage + heap->middle.garbage;
}

static void ordinary(size_t i)
{
    random_case(i);
    world_ordinary(&world, i % 2);
    world.random = random_word();
}

static unsigned clones(void)
{
    return world.full + world.middle;
}

/* --- any program --------------------------------------------------------------------------------------- */

/* Garbage that comes faster than slices of 1 ms take it away grows without bounds, and so does what is
 * promoted during a search that is slower than the throttled program: both are left out here. */
static bool too_much(void)
{
    const struct program *p = &world.program;
    double cyclic = p->counted + p->cyclic > 0 ? p->cyclic / (p->counted + p->cyclic) : 0;
    double promoted = p->young * p->survive; /* in a turn, which lasts as long as a nap at least */
    double candidates = fmax(PACER_SLICE_NS / world.machine.reclaim_ns, world.machine.component);
    return promoted * cyclic > candidates / 4 ||
           promoted * world.machine.find_ns > 0.3 * (PACER_LIMIT_NS + p->young * p->allocate_ns);
}

static void random_world(void)
{
    do {
        world_ordinary(&world, random_below(2));
        world.random = random_word();
        struct program *p = &world.program;
        struct machine *m = &world.machine;
        p->allocate_ns = random_between(50, 5000);
        p->survive = random_between(0.005, 1);
        p->uneven = random_share();
        p->counted = random_share();
        p->cyclic = (1 - p->counted) * random_share();
        p->lifetime = random_between(1e3, 1e7);
        m->young_ns = random_between(10, 100);
        m->examine_ns = random_between(20, 500);
        m->reclaim_ns = random_between(50, 3000);
        m->find_ns = random_between(100, 1000);
        m->count_ns = random_between(3, 50);
        m->clone_base_ns = random_between(3e5, 2e7);
        m->clone_ns = random_between(0.3, 10);
        m->touched = random_between(1e-3, 0.3);
        m->wrong = random_below(3) ? 0 : 0.2 * random_share();
        m->component = random_below(3) ? 1 : floor(random_between(1, 1000));
        double size = random_between(1e3, 5e6);
        if (random_below(4))
            p->staying_most = size;
        world_start(&world, random_below(2) ? size : 0);
    } while (too_much());
}

/* What flights cost the program, and whether that is within what pacer.h promises. */
static void check_flights(void)
{
    double all = (double)world.now_ns - 1e9, flights = world.clone_total_ns + world.fault_total_ns;
    double longest = fmax(world.flight_longest_ns, world.flight_ns);
    if (world.hasty_count == 0)
        assert_true(flights <= longest + all / 25);
    /* Haste is for heaps that have grown much, or hold garbage. But deaths by count look like growth until
     * they are counted, and that is dear where CPython's own collections are. */
    assert_true(world.vain_total_ns <= longest + 0.2 * all + 0.5 * world.their_full_ns);
    /* With haste, too, they cost no more than thrice what CPython's own would. */
    assert_true(flights <= longest + 3 * (world.their_full_ns + 0.05 * all));
    /* Vain searches of all get rare. */
    assert_true(world.full_vain <= 3 * (world.theirs.fulls + 8));
    /* Whole looks are more than CPython's where costly objects or much garbage make the limit so low that the
     * heap counts as large, and the host's ten collections are not waited for. The worst of 20 000: five
     * times as many; and 26 % of the time above CPython's, with the reclaiming, which the middle's has, too. */
    assert_true(world.whole_all <= 6.5 * (world.theirs.fulls + 5));
    assert_true(world.whole_ns <= 1.5 * world.their_full_ns + 0.35 * all);
}

/* At the worst turn: some garbage of the last flight, some that came while it was searched for and reclaimed,
 * and the allowance of a flight. The worst of 15 000 such worlds had 2.5 times what
 * CPython has, beyond that. */
static void test_memory(void **state)
{
    (void)state;
    double worst = 0, allowed = 200000;
    for (size_t i = 0, cases = random_cases(600); i < cases; i++) {
        random_case(i);
        random_world();
        world_run(&world, 3e7);
        worst = fmax(worst, (world.ours.most - allowed) / world.theirs.most);
        assert_true(world.ours.most <= 3 * world.theirs.most + allowed);
        assert_int_equal(world.in_place, 0);
        assert_int_equal(world.host, 0);
        assert_int_equal(world.failed, 0);
        check_flights();
    }
    printf("at worst %.2f times CPython's, and %.0f objects\n", worst, allowed);
}

/* --- programs with a name ------------------------------------------------------------------------------ */

/* From nothing to ten million that stay: as many clones as quarters from the limit of whole looks on,
 * whatever the finder's speed. */
static void test_loading(void **state)
{
    (void)state;
    static const double find_ns[] = {100, 300, 1000, 4000};
    for (size_t i = 0; i < 8; i++) {
        ordinary(i);
        world.machine.find_ns = find_ns[i / 2];
        world.program.survive = 0.9;
        world.program.counted = 0.1;
        world.program.cyclic = 0.05;
        while (live(&world.ours) < 1e7)
            world_turn(&world);
        assert_int_equal(world.in_place + world.host, 0);
        assert_in_range(world.full - world.counted_only, 3, log(1e7 / 1e5) / log(1.25) + 3);
        assert_true(clones() <= 1.5 * log(1e7 / 1e5) / log(1.25));
        assert_true(world.whole_all <= log(1e5 / 2000) / log(1.25));
        assert_true(world.ours.most <= 1.2 * world.theirs.most);
    }
}

/* Nothing dies at all: clones at each half, and the program is not held back as long as the finder is faster
 * than three eighths of what it promotes meanwhile. */
static void test_loading_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ordinary(i);
        world.machine.find_ns = 80;
        world.program.survive = 0.9;
        world.program.counted = world.program.cyclic = 0;
        while (live(&world.ours) < 1e7)
            world_turn(&world);
        assert_int_equal(world.in_place + world.host, 0);
        assert_in_range(clones(), 3, log(1e7 / 1e5) / log(1.5) + 6); /* some of the middle, while cheap */
        assert_true(world.nap_total_ns < 0.01 * (double)world.now_ns);
    }
}

/* A million that stay, and a third of what is promoted dies in cycles. */
static void test_service(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ordinary(i);
        world.program.staying_most = 1e6;
        world_start(&world, 1e6);
        world_run(&world, 5e7);
        double before = world.reclaimed, promoted = world.promoted;
        world_run(&world, 1e8);
        assert_true(clones() > 10);
        assert_int_equal(world.in_place + world.host + world.failed, 0);
        assert_true(world.reclaimed - before > 0.9 * 0.3 * (1e8 * world.program.survive));
        assert_true(world.promoted - promoted < 1.3 * (1e8 * world.program.survive));
        assert_true(world.ours.most <= 1.4 * world.theirs.most);
        assert_true(world.nap_total_ns < 0.05 * (double)world.now_ns);
    }
}

/* The program has found its size; what it promotes dies by count. CPython searches all of it for ever. */
static void test_deaths_by_count(void **state)
{
    (void)state;
    static const double sizes[] = {50000, 200000, 1e6, 5e6};
    for (size_t i = 0; i < 8; i++) {
        ordinary(i);
        world.program.counted = 1;
        world.program.cyclic = 0;
        world.program.lifetime = 20000;
        world.program.staying_most = 0;
        world_start(&world, sizes[i / 2]);
        world_run(&world, 2e8);
        /* A search of all, in case that there is garbage after all: at twice the heap, not at a quarter. */
        assert_true(world.full - world.counted_only <=
                    8 + 2.2e8 * world.program.survive / (2 * sizes[i / 2]));
        assert_true(clones() <= 2e8 * world.program.survive / (sizes[i / 2] / 8) + 1);
        assert_true(sizes[i / 2] > 5e4 || clones() == 0);
        assert_true(world.whole_all <= 5 + 2e8 * world.program.survive / (sizes[i / 2] / 2));
        assert_true(world.clone_total_ns + world.fault_total_ns < 0.06 * (double)world.now_ns);
        assert_int_equal(world.in_place + world.host, 0);
    }
}

/* A clone of a process with much other memory: it is not made for a few thousand promotions each time. */
static void test_costly_clones(void **state)
{
    (void)state;
    static const double sizes[] = {10000, 20000, 50000, 200000};
    for (size_t i = 0; i < 8; i++) {
        ordinary(i);
        world.program.counted = 1;
        world.program.cyclic = 0;
        world.program.lifetime = 20000;
        world.program.staying_most = 0;
        world.machine.clone_base_ns = 2e7;
        world_start(&world, sizes[i / 2]);
        world_run(&world, 1e8);
        /* Was 0.06, of clones without page faults. */
        assert_true(world.clone_total_ns + world.fault_total_ns < 0.08 * (double)world.now_ns);
    }
}

/* One collection took long, by no fault of its objects: wholes come back. */
static void test_one_slow_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ordinary(i);
        world.program.survive = i % 2 ? 0.05 : 0.15;
        world.program.lifetime = 5000;
        world.program.staying_most = 0;
        world_start(&world, 3000);
        world.machine.examine_ns = 5000;
        while (world.whole == 0)
            world_turn(&world);
        world.machine.examine_ns = 80;
        world_run(&world, 2e7);
        unsigned before = clones(), whole = world.whole;
        double fulls = world.theirs.fulls;
        world_run(&world, 2e7);
        assert_int_equal(clones(), before);
        /* Not 100 any more: such a heap is looked at as often as CPython does, once in eleven collections. */
        assert_true(world.whole > whole + 50);
        assert_true(world.whole - whole >= 0.7 * (world.theirs.fulls - fulls));
    }
}

/* Much garbage that is slow to reclaim: the program stands still for longer, and memory is held. */
static void test_costly_garbage(void **state)
{
    (void)state;
    static const double reclaim_ns[] = {500, 1000, 2000, 8000};
    for (size_t i = 0; i < 8; i++) {
        ordinary(i);
        world.program.survive = 0.5;
        world.program.counted = 0.2;
        world.program.cyclic = 0.8;
        world.program.staying_most = 1e6;
        world.machine.reclaim_ns = reclaim_ns[i / 2];
        world_start(&world, 1e6);
        world_run(&world, 1e8);
        assert_true(world.ours.most <= 2 * world.theirs.most);
    }
}

/* Up to what 1.5 ms examine there is no clone; garbage goes all the same. */
static void test_small_heaps(void **state)
{
    (void)state;
    static const double sizes[] = {0, 1000, 2000, 3000, 4000};
    for (size_t i = 0; i < 20; i++) {
        ordinary(i);
        world.program.survive = i % 2 ? 0.05 : 0.15; /* a lump is about 1100 */
        world.program.cyclic = i / 2 % 2 ? 0.3 : 0;
        world.program.counted = 1 - world.program.cyclic;
        world.program.lifetime = 5000;
        world.program.staying_most = 0;
        world_start(&world, sizes[i / 4]);
        world_run(&world, 1e8);
        assert_int_equal(clones() + world.in_place + world.host, 0);
        assert_true(world.whole > 0);
        assert_true(world.whole_longest_ns <= 3e6);
        assert_true(garbage(&world.ours) < 15000);
        assert_true(world.ours.most <= world.theirs.most + 15000);
    }
}

/* And up to what 10 ms examine, as long as what is promoted between two looks fits in, too. */
static void test_heaps_up_to_the_limit(void **state)
{
    (void)state;
    static const double sizes[] = {8000, 20000, 40000, 60000};
    for (size_t i = 0; i < 16; i++) {
        ordinary(i);
        world.program.survive = i % 2 ? 0.05 : 0.15;
        world.program.cyclic = i / 2 % 2 ? 0.3 : 0;
        world.program.counted = 1 - world.program.cyclic;
        world.program.lifetime = 5000;
        world.program.staying_most = 0;
        world_start(&world, sizes[i / 4]);
        world_run(&world, 1e8);
        assert_int_equal(clones() + world.in_place + world.host, 0);
        assert_int_equal(world.whole, world.whole_all);
        assert_true(world.whole > 0);
        assert_true(world.whole_longest_ns <= 15e6);
        assert_true(world.ours.most <= 1.3 * world.theirs.most + 15000);
        assert_true(world.whole_ns <= 1.5 * world.their_full_ns + 0.02 * (double)world.now_ns);
    }
}

/* Garbage among the recently promoted is found there, and all is searched no more often than CPython would: real
 * growth by a quarter does not wait, since memory comes before what a flight costs. */
static void test_middle(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ordinary(i);
        world.program.survive = i % 2 ? 0.1 : 0.3;
        world.program.counted = 0.2;
        world.program.cyclic = 0.8;
        world.program.lifetime = 3000;
        world.program.staying_most = 5e6;
        world_start(&world, 5e6);
        world_run(&world, 1e8);
        assert_true(world.full - world.counted_only <= world.theirs.fulls);
        assert_true(world.whole + world.middle > 50);
        assert_true(garbage(&world.ours) < 0.5 * 5e6);
        assert_true(world.ours.most <= 1.3 * world.theirs.most);
    }
}

/* --- misfortune ---------------------------------------------------------------------------------------- */

static void garbage_program(size_t i)
{
    ordinary(i);
    world.program.staying_most = 1e6;
    world.program.survive = 0.3;
    world.program.counted = 0.3;
    world.program.cyclic = 0.7;
    world_start(&world, 1e6);
}

/* No clone ever: some tries, farther and farther apart, then the search in the program, and memory is held. */
static void test_no_clones(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        garbage_program(i);
        world.no_clone = true;
        world_run(&world, 1e8);
        assert_true(world.in_place >= 5);
        assert_int_equal(world.host, 0);
        assert_int_equal(clones(), world.failed);
        assert_true(clones() <= 10 * (world.in_place + 1));
        assert_true(world.ours.most <= 1.6 * world.theirs.most);
        unsigned before = world.in_place;
        world.no_clone = false;
        world_run(&world, 1e8);
        assert_in_range(world.in_place, before, before + 1); /* and all is well again */
        assert_true(world.full > 10);
    }
}

/* And no memory for the search in the program: CPython's own collection. */
static void test_no_memory_either(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        garbage_program(i);
        world.no_clone = world.no_memory = true;
        world_run(&world, 1e8);
        assert_true(world.host >= 5);
        assert_in_range(world.in_place, world.host, world.host + 1); /* each was tried first, once */
        assert_true(world.ours.most <= 1.6 * world.theirs.most);
    }
}

/* A finder that is a hundred times too slow: the throttle, then in place; the heap does not grow for ever. */
static void test_hopeless_finder(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        garbage_program(i);
        world.machine.find_ns = 30000;
        world_run(&world, 3e8);
        assert_true(world.in_place > 0);
        assert_true(world.nap_total_ns > 0);
        assert_true(world.ours.most <= 6 * world.theirs.most);
    }
}

/* What a candidate costs jumps a hundredfold: one slice is too long, the tenth is not. */
static void test_costs_jump(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        garbage_program(i);
        world.program.survive = 0.05;
        world.machine.reclaim_ns = 30;
        world_run(&world, 5e7);
        assert_true(world.slice_longest_ns <= 1.1e6);
        world.machine.reclaim_ns = 3000;
        while (world.slice == 0)
            world_turn(&world);
        for (unsigned slices = 0; slices < 10; slices += world.slice != 0)
            world_turn(&world);
        world.slice_longest_ns = 0;
        world_run(&world, 5e7);
        assert_true(world.slice_longest_ns > 0);
        assert_true(world.slice_longest_ns <= 1.2e6);
    }
}

int main(void)
{
    random_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_memory, tell),
        cmocka_unit_test_teardown(test_loading, tell),
        cmocka_unit_test_teardown(test_loading_only, tell),
        cmocka_unit_test_teardown(test_service, tell),
        cmocka_unit_test_teardown(test_deaths_by_count, tell),
        cmocka_unit_test_teardown(test_costly_clones, tell),
        cmocka_unit_test_teardown(test_one_slow_whole, tell),
        cmocka_unit_test_teardown(test_costly_garbage, tell),
        cmocka_unit_test_teardown(test_small_heaps, tell),
        cmocka_unit_test_teardown(test_heaps_up_to_the_limit, tell),
        cmocka_unit_test_teardown(test_middle, tell),
        cmocka_unit_test_teardown(test_no_clones, tell),
        cmocka_unit_test_teardown(test_no_memory_either, tell),
        cmocka_unit_test_teardown(test_hopeless_finder, tell),
        cmocka_unit_test_teardown(test_costs_jump, tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

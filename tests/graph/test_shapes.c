/* test_shapes.c: small heaps made by hand, one thought each: what is garbage, what is not, in what order. */
#include "fake.h"

static size_t garbage_of(struct fake_heap *heap)
{
    struct graph_figures figures;
    fake_seal(heap);
    fake_verify(heap, true, &figures);
    fake_free(heap);
    return figures.garbage;
}

static void ring(struct fake_heap *heap, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        fake_refer(heap, i, i + 1 < to ? i + 1 : from);
}

/* --- what is garbage -------------------------------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 0, FAKE_DENSE);
    assert_int_equal(garbage_of(&heap), 0);
}

static void test_one(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 1, FAKE_DENSE);
    fake_hold(&heap, 0, 1);
    assert_int_equal(garbage_of(&heap), 0);
    fake_new(&heap, 1, FAKE_DENSE); /* refers to itself */
    fake_refer(&heap, 0, 0);
    assert_int_equal(garbage_of(&heap), 1);
    fake_new(&heap, 1, FAKE_DENSE); /* twice, and is held */
    fake_refer(&heap, 0, 0);
    fake_refer(&heap, 0, 0);
    fake_hold(&heap, 0, 1);
    assert_int_equal(garbage_of(&heap), 0);
}

static void test_ring(void **state)
{
    (void)state;
    for (size_t held = 0; held < 4; held++) {
        struct fake_heap heap;
        fake_new(&heap, 3, FAKE_DENSE);
        ring(&heap, 0, 3);
        if (held < 3)
            fake_hold(&heap, held, 1);
        assert_int_equal(garbage_of(&heap), held < 3 ? 0 : 3);
    }
}

static void test_chain_from_both_ends(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct fake_heap heap;
        fake_new(&heap, 200, FAKE_DENSE);
        for (size_t i = 0; i + 1 < 200; i++)
            fake_refer(&heap, backwards ? i + 1 : i, backwards ? i : i + 1);
        fake_hold(&heap, backwards ? 199 : 0, 1);
        assert_int_equal(garbage_of(&heap), 0);
    }
}

static void test_clique(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 150, FAKE_HOLES);
    for (size_t i = 0; i < 150; i++)
        for (size_t j = 0; j < 150; j++)
            fake_refer(&heap, i, j);
    assert_int_equal(garbage_of(&heap), 150);
}

static void test_repeated_references(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 2, FAKE_DENSE);
    for (int i = 0; i < 5000; i++) {
        fake_refer(&heap, 0, 1);
        fake_refer(&heap, 1, 0);
    }
    assert_int_equal(garbage_of(&heap), 2);
}

static void test_references_to_outside(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 3, FAKE_DENSE);
    ring(&heap, 0, 2);
    for (size_t i = 0; i < 3; i++) {
        fake_refer(&heap, i, FAKE_NULL);
        fake_refer(&heap, i, FAKE_OUTSIDE);
        fake_refer(&heap, i, FAKE_INSIDE);
        fake_refer(&heap, i, FAKE_BEYOND);
    }
    fake_refer(&heap, 0, 2);
    heap.outside[2] = true;
    assert_int_equal(garbage_of(&heap), 2);
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        uint64_t count;
        size_t garbage;
    } cases[] = {
        {1, 2},
        {0, 0},
        {2, 0},
        {INT32_MAX - 1, 0},
        {INT32_MAX, 0},
        {UINT32_MAX - 1, 0},
        {UINT32_MAX, 0},
        {(uint64_t)UINT32_MAX + 1, 0},
        {(uint64_t)UINT32_MAX + 2, 0},
        {(uint64_t)1 << 40 | 1, 0},
        {GRAPH_REACHABLE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_heap heap;
        fake_new(&heap, 2, FAKE_DENSE);
        ring(&heap, 0, 2);
        heap.objects[1]->count = cases[i].count;
        assert_int_equal(garbage_of(&heap), cases[i].garbage);
    }
}

/* A traversal that tells a borrowed reference: more come from inside than are counted. None is from outside. */
static void test_borrowed_reference(void **state)
{
    (void)state;
    for (uint64_t borrowed = 1; borrowed < 3; borrowed++) {
        struct fake_heap heap;
        fake_new(&heap, 3, FAKE_DENSE);
        ring(&heap, 0, 3);
        for (int i = 0; i < 3; i++)
            fake_refer(&heap, 0, 2);
        heap.objects[2]->count -= borrowed;
        assert_int_equal(garbage_of(&heap), 3);
    }
}

/* --- the order -------------------------------------------------------------------------------------- */

/* Two rings that do not refer to each other: what one must precede settles the order, and not who is garbage;
 * both ways, they become one component. */
static void test_precedence(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct fake_heap heap;
        fake_new(&heap, 20, FAKE_DENSE);
        ring(&heap, 0, 10);
        ring(&heap, 10, 20);
        if (way & 1)
            fake_precede(&heap, 13, 4);
        if (way & 2)
            fake_precede(&heap, 3, 14);
        fake_seal(&heap);
        struct graph_figures figures;
        fake_verify(&heap, true, &figures);
        assert_int_equal(figures.garbage, 20);
        assert_int_equal(figures.components, way == 3 ? 1 : 2);
        fake_free(&heap);
    }
    struct fake_heap heap; /* a reachable one is not kept from anything, nor keeps anything */
    fake_new(&heap, 20, FAKE_DENSE);
    ring(&heap, 0, 10);
    ring(&heap, 10, 20);
    fake_hold(&heap, 5, 1);
    fake_precede(&heap, 13, 4);
    fake_precede(&heap, 3, 14);
    assert_int_equal(garbage_of(&heap), 10);
}

/* Two rings and a bridge, the sink at the lower and at the higher addresses. */
static void test_sources_first(void **state)
{
    (void)state;
    for (int up = 0; up < 2; up++) {
        struct fake_heap heap;
        fake_new(&heap, 20, FAKE_DENSE);
        ring(&heap, 0, 10);
        ring(&heap, 10, 20);
        fake_refer(&heap, up ? 3 : 13, up ? 13 : 3);
        fake_seal(&heap);
        fake_verify(&heap, true, NULL);
        struct graph *graph = fake_graph(&heap);
        uint64_t candidates[20];
        assert_int_equal(graph_find(graph), GRAPH_OK);
        assert_int_equal(graph_emit(graph, candidates, 20), 20);
        for (size_t k = 0; k < 20; k++) {
            const struct fake_object *object = GRAPH_OBJECT(candidates[k]);
            assert_int_equal(object->index / 10, up ? k / 10 : 1 - k / 10);
            assert_int_equal(candidates[k] & GRAPH_FIRST, k % 10 == 0);
        }
        graph_free(graph);
        fake_free(&heap);
    }
}

/* A ring's leaf follows the ring, wherever it lies, so that a slice is charged for it. */
static void test_what_hangs_below_follows(void **state)
{
    (void)state;
    enum { GROUPS = 50, GROUP = 4 };
    struct fake_heap heap;
    fake_new(&heap, GROUPS * GROUP, FAKE_HOLES);
    for (size_t g = 0; g < GROUPS; g++) { /* two in a ring, a chain of two below */
        size_t a = g * GROUP;
        ring(&heap, a, a + 2);
        fake_refer(&heap, a + 1, a + 2);
        fake_refer(&heap, a + 2, a + 3);
    }
    fake_seal(&heap);
    fake_verify(&heap, true, NULL);
    struct graph *graph = fake_graph(&heap);
    uint64_t candidates[GROUPS * GROUP];
    assert_int_equal(graph_find(graph), GRAPH_OK);
    assert_int_equal(graph_emit(graph, candidates, GROUPS * GROUP), GROUPS * GROUP);
    for (size_t k = 0; k < GROUPS * GROUP; k++) {
        const struct fake_object *object = GRAPH_OBJECT(candidates[k]);
        const struct fake_object *before = GRAPH_OBJECT(candidates[k / GROUP * GROUP]);
        assert_int_equal(object->index / GROUP, before->index / GROUP);
        if (k % GROUP >= 2)
            assert_int_equal(object->index % GROUP, k % GROUP);
    }
    graph_free(graph);
    fake_free(&heap);
}

static void test_room(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 60, FAKE_DENSE);
    for (size_t i = 0; i < 60; i += 6) { /* components of 1 to 3 */
        ring(&heap, i, i + 1);
        ring(&heap, i + 1, i + 3);
        ring(&heap, i + 3, i + 6);
    }
    fake_seal(&heap);
    struct graph *graph = fake_graph(&heap);
    assert_int_equal(graph_find(graph), GRAPH_OK);
    uint64_t all[60], some[61];
    assert_int_equal(graph_emit(graph, all, 60), 60);
    for (size_t room = 0; room < 60; room++) {
        memset(some, 0, sizeof some);
        size_t n = graph_emit(graph, some, room);
        assert_true(n <= room && room - n < 3);
        assert_true(n == 60 || (all[n] & GRAPH_FIRST));
        for (size_t k = 0; k < 60; k++)
            assert_int_equal(some[k], k < n ? all[k] : 0);
    }
    graph_free(graph);
    fake_free(&heap);
}

/* --- the set ---------------------------------------------------------------------------------------- */

static void test_add(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 4, FAKE_DENSE);
    ring(&heap, 0, 4);
    fake_seal(&heap);
    struct graph *graph = fake_graph(&heap);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(graph_add(graph, heap.objects[i]), GRAPH_OK); /* again */
    uintptr_t address = (uintptr_t)heap.objects[0];
    assert_int_equal(graph_add(graph, NULL), GRAPH_OK);
    for (uintptr_t bit = 1; bit < 16; bit *= 2)
        assert_int_equal(graph_add(graph, (void *)(address | bit)), GRAPH_OK);
    for (uintptr_t bit = (uintptr_t)1 << 63; bit > 0xffffffffffff; bit /= 2)
        assert_int_equal(graph_add(graph, (void *)(address | bit)), GRAPH_OK);
    assert_int_equal(graph_size(graph), 4);
    assert_null(graph_check(graph));
    assert_int_equal(graph_find(graph), GRAPH_OK);
    fake_compare(&heap, graph);
    graph_free(graph);
    graph_free(NULL);
    fake_free(&heap);
}

static void test_clear(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 100, FAKE_SPARSE);
    ring(&heap, 0, 100);
    fake_seal(&heap);
    struct graph *graph = fake_graph(&heap);
    graph_clear(graph);
    graph_clear(graph);
    assert_int_equal(graph_size(graph), 0);
    assert_null(graph_check(graph));
    for (size_t i = 0; i < 50; i++) /* half the ring: what it refers to outside keeps nothing alive, */
        assert_int_equal(graph_add(graph, heap.objects[i]), GRAPH_OK); /* but is a reference from there */
    for (size_t i = 50; i < 100; i++)
        heap.outside[i] = true;
    assert_int_equal(graph_find(graph), GRAPH_OK);
    assert_null(graph_check(graph));
    fake_compare(&heap, graph);
    graph_free(graph);
    graph = graph_new(&heap.host); /* and empty to the end */
    assert_int_equal(graph_add(graph, heap.objects[0]), GRAPH_OK);
    graph_clear(graph);
    assert_int_equal(graph_find(graph), GRAPH_OK);
    assert_int_equal(graph_emit(graph, NULL, 0), 0);
    graph_free(graph);
    fake_free(&heap);
}

static void test_far_apart(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 3000, FAKE_SPARSE);
    ring(&heap, 0, 1500);
    ring(&heap, 1500, 3000);
    fake_hold(&heap, 2000, 1);
    assert_int_equal(garbage_of(&heap), 1500);
}

/* Notes are resolved in the middle of an object, wherever that falls. */
static void test_large_objects(void **state)
{
    (void)state;
    for (size_t size = 200; size < 6000; size += 397) {
        struct fake_heap heap;
        fake_new(&heap, 300, FAKE_HOLES);
        for (size_t i = 0; i < 300; i++)
            for (size_t k = 0; k < (i % 50 == 7 ? size : i % 4); k++)
                fake_refer(&heap, i, k % 5 ? fake_below(300) : FAKE_OUTSIDE);
        for (size_t i = 0; i < 300; i++) /* none is without a reference */
            fake_refer(&heap, (i + 1) % 300, i);
        assert_int_equal(garbage_of(&heap), 300);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 1000, FAKE_DENSE);
    ring(&heap, 0, 1000);
    ring(&heap, 0, 1000);
    fake_seal(&heap);
    struct graph *graph = fake_graph(&heap);
    graph->references_max = 1999;
    assert_int_equal(graph_find(graph), GRAPH_TOO_LARGE);
    graph_free(graph);
    graph = fake_graph(&heap);
    graph->references_max = 2000;
    assert_int_equal(graph_find(graph), GRAPH_OK);
    graph_free(graph);
    graph = graph_new(&heap.host);
    graph->objects_max = 10;
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(graph_add(graph, heap.objects[i]), i < 10 ? GRAPH_OK : GRAPH_TOO_LARGE);
    assert_int_equal(graph_size(graph), 10);
    graph_free(graph);
    fake_free(&heap);
}

static void test_optional_calls(void **state)
{
    (void)state;
    struct fake_heap heap;
    fake_new(&heap, 10, FAKE_DENSE);
    ring(&heap, 0, 10);
    fake_seal(&heap);
    heap.host.prefetch = NULL;
    heap.host.tag = NULL;
    heap.host.proceed = NULL;
    for (size_t i = 0; i < 10; i++)
        heap.objects[i]->tag = 0;
    fake_verify(&heap, true, NULL);
    fake_free(&heap);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(graph_status_name(GRAPH_OK), "ok");
    assert_string_equal(graph_status_name(GRAPH_NO_MEMORY), "no memory");
    assert_string_equal(graph_status_name(GRAPH_TOO_LARGE), "too large");
    assert_string_equal(graph_status_name(GRAPH_STOPPED), "stopped");
    assert_string_equal(graph_status_name((enum graph_status)77), "unknown");
}

int main(void)
{
    fake_seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_chain_from_both_ends),
        cmocka_unit_test(test_clique),
        cmocka_unit_test(test_repeated_references),
        cmocka_unit_test(test_references_to_outside),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_borrowed_reference),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_sources_first),
        cmocka_unit_test(test_what_hangs_below_follows),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_far_apart),
        cmocka_unit_test(test_large_objects),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_optional_calls),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

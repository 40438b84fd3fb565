/* test_failures.c: pages refused at each call in turn (needs a build with MIDDEN_FAULTS), and the host's
 * proceed() stopping at each poll in turn. Either way: the right status, nothing leaked, and the next try
 * is unharmed. */
#include "fake.h"

#include "../../src/platform/platform.h"

#include <stdio.h>
#include <stdlib.h>

/* Rings of 3 with a leaf each, every other one held; two pages of addresses or many chunks, by layout. */
static void make_heap(struct fake_heap *heap, size_t n, enum fake_layout layout)
{
    fake_new(heap, n, layout);
    for (size_t i = 0; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 3; k++)
            fake_refer(heap, i + k, i + (k + 1) % 3);
        fake_refer(heap, i + 1, i + 3);
        if (i % 8)
            fake_hold(heap, i + 2, 1);
    }
    fake_seal(heap);
}

/* Bytes of addresses in use, or 0 where the system does not tell. */
static size_t mapped_bytes(void)
{
    static char buffer[4096]; /* so that stdio maps nothing of its own */
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    setvbuf(file, buffer, _IOFBF, sizeof buffer);
    if (fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * platform_page_bytes();
}

static enum graph_status find_once(struct fake_heap *heap, uint64_t *candidates, size_t room, size_t *n)
{
    struct graph *graph = fake_graph(heap);
    if (!graph)
        return GRAPH_NO_MEMORY;
    enum graph_status status = graph_find(graph);
    if (status == GRAPH_OK)
        *n = graph_emit(graph, candidates, room);
    else
        assert_null(graph_check(graph));
    graph_free(graph);
    return status;
}

#ifdef MIDDEN_FAULTS
static void sweep_refusals(enum fake_layout layout, size_t n)
{
    struct fake_heap heap;
    make_heap(&heap, n, layout);
    uint64_t *candidates = calloc(n, sizeof *candidates);
    size_t found = 0, calls = 1;
    platform_faults_load("");
    assert_int_equal(find_once(&heap, candidates, n, &found), GRAPH_OK);
    assert_int_equal(found, n / 8 * 4);
    size_t before = mapped_bytes();
    for (;; calls++) {
        char text[32];
        snprintf(text, sizeof text, "map=%zu", calls);
        platform_faults_load(text);
        enum graph_status status = find_once(&heap, candidates, n, &found);
        platform_faults_load("");
        if (status == GRAPH_OK)
            break;
        assert_int_equal(status, GRAPH_NO_MEMORY);
    }
    assert_true(calls > 10);
    assert_int_equal(found, n / 8 * 4);
    assert_int_equal(mapped_bytes(), before);
    free(candidates);
    fake_free(&heap);
}

static void test_refused_pages(void **state)
{
    (void)state;
    sweep_refusals(FAKE_DENSE, 400);
    sweep_refusals(FAKE_SPARSE, 8000);  /* the tables of rank.c grow */
    sweep_refusals(FAKE_DENSE, 400000); /* so do the edges */
}

/* An object whose page was refused is not in the set, and all others still are. Returns how many were refused;
 * how many mappings there are depends on where the system puts the sparse heap. */
static size_t add_with_refusal(const char *which)
{
    struct fake_heap heap;
    make_heap(&heap, 4000, FAKE_SPARSE);
    struct graph *graph = fake_graph(&heap);
    graph_clear(graph);
    platform_faults_load(which);
    size_t refused = 0;
    for (size_t i = 0; i < heap.n; i++)
        if (graph_add(graph, heap.objects[i]) == GRAPH_NO_MEMORY) {
            refused++;
            heap.outside[i] = true;
            assert_null(graph_check(graph));
        }
    platform_faults_load("");
    assert_int_equal(graph_size(graph), heap.n - refused);
    assert_int_equal(graph_find(graph), GRAPH_OK);
    assert_null(graph_check(graph));
    fake_compare(&heap, graph);
    graph_free(graph);
    fake_free(&heap);
    return refused;
}

static void test_add_goes_on(void **state)
{
    (void)state;
    assert_int_equal(add_with_refusal("map=1"), 1);
    assert_int_equal(add_with_refusal("map=3"), 1);
    assert_true(add_with_refusal("map=5") <= 1);
}

static void test_check_without_pages(void **state)
{
    (void)state;
    struct fake_heap heap;
    make_heap(&heap, 8, FAKE_DENSE);
    struct graph *graph = fake_graph(&heap);
    assert_int_equal(graph_find(graph), GRAPH_OK);
    platform_faults_load("map=*");
    assert_string_equal(graph_check(graph), "no pages for the check");
    assert_null(graph_new(&heap.host));
    platform_faults_load("");
    graph_free(graph);
    fake_free(&heap);
}
#endif

static void test_stopped(void **state)
{
    (void)state;
    struct fake_heap heap;
    size_t n = fake_scaled(400000, 4000) / 8 * 8, found = 0, polls;
    make_heap(&heap, n, FAKE_DENSE);
    uint64_t *candidates = calloc(n, sizeof *candidates);
    assert_int_equal(find_once(&heap, candidates, n, &found), GRAPH_OK);
    polls = heap.polls;
    size_t before = mapped_bytes();
    for (size_t at = 1; at <= polls; at++) {
        heap.polls = 0;
        heap.stop_at = at;
        assert_int_equal(find_once(&heap, candidates, n, &found), GRAPH_STOPPED);
        assert_int_equal(heap.polls, at); /* it ended there and then */
    }
    assert_int_equal(mapped_bytes(), before);
    heap.stop_at = 0;
    found = 0;
    assert_int_equal(find_once(&heap, candidates, n, &found), GRAPH_OK);
    assert_int_equal(found, n / 8 * 4);
    assert_true(polls >= 5 + n / GRAPH_POLL * 5); /* in all phases, about every 65,536 objects */
    printf("%zu objects, %zu polls\n", n, polls);
    free(candidates);
    fake_free(&heap);
}

int main(void)
{
    fake_seed_from_environment();
    const struct CMUnitTest tests[] = {
#ifdef MIDDEN_FAULTS
        cmocka_unit_test(test_refused_pages),
        cmocka_unit_test(test_add_goes_on),
        cmocka_unit_test(test_check_without_pages),
#endif
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

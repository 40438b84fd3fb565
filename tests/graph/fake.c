/* fake.c: the fake host's heap, its answers to the graph, and the comparison with reference.c. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* --- random numbers (splitmix64) -------------------------------------------------------------------- */

uint64_t fake_random_state;

void fake_seed(uint64_t seed)
{
    fake_random_state = seed;
}

uint64_t fake_seed_from_environment(void)
{
    const char *text = getenv("MIDDEN_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("MIDDEN_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    fake_seed(seed);
    return seed;
}

uint64_t fake_random(void)
{
    uint64_t z = (fake_random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t fake_below(size_t n)
{
    return (size_t)((fake_random() >> 32) * n >> 32);
}

size_t fake_scaled(size_t n, size_t least)
{
    const char *text = getenv("MIDDEN_TEST_SCALE");
    double scaled = (double)n * (text ? strtod(text, NULL) : 1.0);
    return scaled < (double)least ? least : (size_t)scaled;
}

/* --- making a heap ---------------------------------------------------------------------------------- */

static void *pages_at(struct fake_heap *heap, void *hint, size_t bytes)
{
    void *at = mmap(hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    heap->pages = realloc(heap->pages, (heap->mappings + 1) * sizeof *heap->pages);
    heap->pages[heap->mappings++] = (struct fake_pages){at, bytes};
    return at;
}

static void place_dense(struct fake_heap *heap)
{
    char *at = pages_at(heap, NULL, (heap->n + 1) * 48);
    for (size_t i = 0; i < heap->n; i++)
        heap->objects[i] = (struct fake_object *)(void *)(at + i * 48);
}

static void place_holes(struct fake_heap *heap)
{
    char *at = pages_at(heap, NULL, (heap->n + 1) * 160);
    for (size_t i = 0; i < heap->n; i++)
        heap->objects[i] = (struct fake_object *)(void *)(at + i * 160 + fake_below(8) * 16);
    for (size_t i = heap->n; i-- > 1;) {
        size_t j = fake_below(i + 1);
        struct fake_object *swap = heap->objects[i];
        heap->objects[i] = heap->objects[j];
        heap->objects[j] = swap;
    }
}

static void place_sparse(struct fake_heap *heap)
{
    for (size_t i = 0; i < heap->n;) {
        size_t some = 1 + fake_below(40), step = 48 + 16 * fake_below(200);
        void *hint = (void *)(uintptr_t)(0x100000000u + (fake_random() >> 18 & 0x3ffffffff000u));
        char *at = pages_at(heap, hint, some * step);
        for (; some-- > 0 && i < heap->n; i++)
            heap->objects[i] = (struct fake_object *)(void *)(at + some * step);
    }
}

void fake_seal(struct fake_heap *heap)
{
    heap->items = malloc((heap->references + 1) * sizeof *heap->items);
    struct fake_object **next = heap->items;
    for (size_t i = 0; i < heap->n; i++) {
        heap->objects[i]->items = next;
        next += heap->objects[i]->size;
        heap->objects[i]->size = 0;
    }
    for (size_t r = 0; r < heap->references; r++) {
        struct fake_object *object = heap->objects[heap->from[r]];
        object->items[object->size++] = heap->to[r];
    }
    free(heap->from);
    free(heap->to);
    heap->from = NULL;
    heap->to = NULL;
}

void fake_refer(struct fake_heap *heap, size_t from, size_t to)
{
    if (heap->references == heap->room) {
        heap->room = heap->room * 2 + 1000;
        heap->from = realloc(heap->from, heap->room * sizeof *heap->from);
        heap->to = realloc(heap->to, heap->room * sizeof *heap->to);
    }
    uintptr_t address = to == FAKE_NULL      ? 0
                        : to == FAKE_OUTSIDE ? (uintptr_t)0x10000
                        : to == FAKE_INSIDE  ? (uintptr_t)heap->objects[0] + 8
                        : to == FAKE_BEYOND  ? (uintptr_t)heap->objects[0] | (uintptr_t)1 << 48
                                             : (uintptr_t)heap->objects[to];
    if (to < heap->n)
        heap->objects[to]->count++;
    heap->from[heap->references] = (uint32_t)from;
    heap->to[heap->references++] = (struct fake_object *)address;
    heap->objects[from]->size++;
}

void fake_hold(struct fake_heap *heap, size_t object, uint64_t times)
{
    heap->objects[object]->count += times;
}

void fake_precede(struct fake_heap *heap, size_t object, size_t other)
{
    heap->objects[object]->before = heap->objects[other];
}

void fake_free(struct fake_heap *heap)
{
    for (size_t i = 0; i < heap->mappings; i++)
        munmap(heap->pages[i].at, heap->pages[i].bytes);
    free(heap->pages);
    free(heap->objects);
    free(heap->outside);
    free(heap->from);
    free(heap->to);
    free(heap->items);
}

/* --- the host --------------------------------------------------------------------------------------- */

static void see(struct fake_heap *heap, const void *object)
{
    if (heap->ordered)
        assert_true((uintptr_t)object >= heap->last);
    heap->last = (uintptr_t)object;
}

static uint64_t host_count(void *context, void *object)
{
    see(context, object);
    return ((struct fake_object *)object)->count;
}

static void host_traverse(void *context, void *object_, graph_visit *visit, void *arg)
{
    const struct fake_object *object = object_;
    see(context, object);
    for (size_t i = 0; i < object->size; i++)
        assert_int_equal(visit(object->items[i], arg), 0);
}

static void host_precede(void *context, void *object_, graph_visit *visit, void *arg)
{
    const struct fake_object *object = object_;
    see(context, object);
    if (object->before)
        assert_int_equal(visit(object->before, arg), 0);
}

static void host_prefetch(void *context, void *object)
{
    (void)context;
    __builtin_prefetch(((struct fake_object *)object)->items);
}

static unsigned host_tag(void *context, void *object)
{
    (void)context;
    return ((struct fake_object *)object)->tag;
}

static int host_proceed(void *context)
{
    struct fake_heap *heap = context;
    return ++heap->polls == heap->stop_at ? -1 : 0;
}

void fake_new(struct fake_heap *heap, size_t n, enum fake_layout layout)
{
    *heap = (struct fake_heap){
        .n = n,
        .objects = calloc(n + 1, sizeof *heap->objects),
        .outside = calloc(n + 1, sizeof *heap->outside),
        .host = {heap, host_count, host_traverse, host_prefetch, host_precede, host_tag, host_proceed},
    };
    static void (*const place[FAKE_LAYOUTS])(struct fake_heap *) = {place_dense, place_holes, place_sparse};
    place[layout](heap);
    for (size_t i = 0; i < n; i++) {
        heap->objects[i]->index = (uint32_t)i;
        heap->objects[i]->tag = (unsigned)i * 5 % 9; /* 8: more bits than there is room for */
    }
}

/* --- comparing -------------------------------------------------------------------------------------- */

struct graph *fake_graph(struct fake_heap *heap)
{
    struct graph *graph = graph_new(&heap->host);
    size_t inside = 0;
    for (size_t i = 0; graph && i < heap->n; i++)
        if (!heap->outside[i]) {
            if (graph_add(graph, heap->objects[i]) != GRAPH_OK) {
                graph_free(graph);
                return NULL;
            }
            inside++;
        }
    if (graph)
        assert_int_equal(graph_size(graph), inside);
    return graph;
}

/* Candidates in order: components whole and the same as the reference's, told once, sources first. */
static void compare_order(const struct fake_heap *heap, const struct reference *reference,
                          const uint64_t *candidates)
{
    uint32_t *turn = calloc(reference->components + 1, sizeof *turn);
    bool *seen = calloc(heap->n + 1, sizeof *seen);
    uint32_t turns = 0;
    size_t left = 0;
    for (size_t k = 0; k < reference->garbage; k++) {
        size_t i = reference_index(reference, heap, GRAPH_OBJECT(candidates[k]));
        assert_true(i < heap->n && reference->dead[i] && !seen[i]);
        seen[i] = true;
        uint32_t component = reference->component[i];
        assert_int_equal(left == 0, (candidates[k] & GRAPH_FIRST) != 0);
        if (left == 0) {
            assert_int_equal(turn[component], 0);
            turn[component] = ++turns;
            left = reference->sizes[component];
        }
        assert_int_equal(turn[component], turns);
        left--;
        assert_int_equal(GRAPH_TAG(candidates[k]), heap->objects[i]->tag & 7);
    }
    assert_int_equal(left, 0);
    for (size_t i = 0; i < heap->n; i++)
        for (size_t k = 0; reference->dead[i] && k < heap->objects[i]->size; k++) {
            size_t to = reference_index(reference, heap, heap->objects[i]->items[k]);
            if (to != FAKE_NULL && reference->dead[to])
                assert_true(turn[reference->component[i]] <= turn[reference->component[to]]);
        }
    for (size_t i = 0; i < heap->n; i++)
        if (reference->dead[i] && heap->objects[i]->before) {
            size_t to = reference_index(reference, heap, heap->objects[i]->before);
            if (to != FAKE_NULL && reference->dead[to])
                assert_true(turn[reference->component[i]] <= turn[reference->component[to]]);
        }
    free(turn);
    free(seen);
}

void fake_compare(const struct fake_heap *heap, const struct graph *graph)
{
    struct reference reference;
    struct graph_figures figures;
    reference_find(heap, &reference);
    graph_tell(graph, &figures);
    assert_int_equal(figures.objects, reference.objects);
    assert_int_equal(figures.references, reference.references);
    assert_int_equal(figures.garbage, reference.garbage);
    assert_int_equal(figures.components, reference.components);
    assert_int_equal(figures.largest, reference.largest);
    uint64_t *candidates = malloc((reference.garbage + 1) * sizeof *candidates);
    candidates[reference.garbage] = 42;
    assert_int_equal(graph_emit(graph, candidates, reference.garbage), reference.garbage);
    assert_int_equal(candidates[reference.garbage], 42);
    compare_order(heap, &reference, candidates);
    free(candidates);
    reference_free(&reference);
}

static void check(const struct graph *graph)
{
    const char *wrong = graph_check(graph);
    if (wrong)
        fail_msg("phase %d: %s", graph->phase, wrong);
}

void fake_verify(struct fake_heap *heap, bool check_phases, struct graph_figures *figures)
{
    struct graph *graph = fake_graph(heap);
    assert_non_null(graph);
    if (check_phases) {
        static enum graph_status (*const phases[])(struct graph *) = {
            rank_seal, graph_extract, graph_subtract, graph_mark, graph_order,
        };
        check(graph);
        for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
            heap->last = 0;
            heap->ordered = true;
            assert_int_equal(phases[i](graph), GRAPH_OK);
            heap->ordered = false;
            check(graph);
        }
    } else
        assert_int_equal(graph_find(graph), GRAPH_OK);
    fake_compare(heap, graph);
    if (figures)
        graph_tell(graph, figures);
    graph_free(graph);
}

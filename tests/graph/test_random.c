/* test_random.c: thousands of random heaps, found by the graph and by reference.c. Every case has a seed
 * of its own, printed when it fails: MIDDEN_SEED=<that> MIDDEN_CASES=1 runs it alone. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t first_seed, case_seed;

static size_t random_target(const struct fake_heap *heap)
{
    switch (fake_below(20)) {
    case 0: return FAKE_NULL;
    case 1: return FAKE_OUTSIDE;
    case 2: return fake_below(4) ? FAKE_INSIDE : FAKE_BEYOND;
    default: return fake_below(heap->n);
    }
}

/* Mostly neighbours, so that components of all sizes come about. */
static size_t near_target(const struct fake_heap *heap, size_t from)
{
    size_t to = from + fake_below(8);
    to = to > 4 ? to - 4 : 0;
    return to < heap->n ? to : from;
}

static void random_counts(struct fake_heap *heap)
{
    size_t held = fake_below(heap->n + 1) / (1 + fake_below(50));
    for (size_t k = 0; k < held; k++)
        fake_hold(heap, fake_below(heap->n), 1 + fake_below(3));
    if (fake_below(4) == 0)
        heap->objects[fake_below(heap->n)]->count = GRAPH_REACHABLE;
    if (fake_below(4) == 0)
        heap->objects[fake_below(heap->n)]->count += UINT32_MAX;
    if (fake_below(4) == 0)
        heap->objects[fake_below(heap->n)]->count /= 2; /* borrowed references, or 0 */
}

static void random_heap(struct fake_heap *heap)
{
    size_t n = 1 + fake_below(fake_below(5) ? 60 : 2000), tenths = fake_below(60);
    bool near = fake_below(2) == 0;
    fake_new(heap, n, (enum fake_layout)fake_below(FAKE_LAYOUTS));
    for (size_t k = 0; k < n * tenths / 10; k++) {
        size_t from = fake_below(n);
        fake_refer(heap, from, near ? near_target(heap, from) : random_target(heap));
    }
    if (fake_below(3) ==
        0) /* count 0 is rare in a real heap, and would make most of a sparse one reachable */
        for (size_t i = 0; i < n; i++)
            if (heap->objects[i]->count == 0)
                fake_refer(heap, fake_below(n), i);
    if (fake_below(3) == 0)
        for (size_t k = fake_below(n); k > 0; k--)
            heap->outside[fake_below(n)] = true;
    if (fake_below(3))
        random_counts(heap);
    if (fake_below(2))
        for (size_t k = fake_below(n); k > 0; k--)
            fake_precede(heap, fake_below(n), fake_below(n));
    fake_seal(heap);
}

static void test_random(void **state)
{
    (void)state;
    const char *text = getenv("MIDDEN_CASES");
    size_t cases = text ? strtoul(text, NULL, 10) : fake_scaled(4000, 20), garbage = 0, components = 0,
           largest = 0;
    for (size_t i = 0; i < cases; i++) {
        struct fake_heap heap;
        struct graph_figures figures;
        case_seed = first_seed + i;
        fake_seed(case_seed);
        random_heap(&heap);
        fake_verify(&heap, true, &figures);
        fake_free(&heap);
        garbage += figures.garbage;
        components += figures.components;
        largest = largest < figures.largest ? figures.largest : largest;
    }
    printf("%zu heaps: %zu garbage, %zu components, largest %zu\n", cases, garbage, components, largest);
}

static int tell_seed(void **state)
{
    (void)state;
    printf("last case: MIDDEN_SEED=%llu MIDDEN_CASES=1\n", (unsigned long long)case_seed);
    return 0;
}

int main(void)
{
    first_seed = fake_seed_from_environment();
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_random, tell_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

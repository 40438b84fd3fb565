/* test_large.c: heaps of millions of objects whose shape is hard on a finder: deep, wide, or all one cycle.
 * MIDDEN_TEST_SCALE (default 1) scales them; sanitizer builds want 0.05 or so. */
#include "fake.h"

#include <stdio.h>

/* graph_check would double the time of a large one; small ones it has seen elsewhere. */
static void verify(struct fake_heap *heap, size_t garbage, size_t components)
{
    struct graph_figures figures;
    fake_seal(heap);
    fake_verify(heap, heap->n <= 300000, &figures);
    assert_int_equal(figures.garbage, garbage);
    if (garbage > 0)
        assert_int_equal(figures.components, components);
    printf("%9zu objects %9zu references %9zu garbage: %.1f bytes per object\n", figures.objects,
           figures.references, figures.garbage, (double)figures.memory_bytes / (double)figures.objects);
    if (heap->n > 500000 && figures.references <= figures.objects * 5 / 2)
        assert_true(figures.memory_bytes <= 40 * figures.objects);
    fake_free(heap);
}

static void test_ring(void **state)
{
    (void)state;
    size_t n = fake_scaled(1000000, 1000);
    for (int held = 0; held < 2; held++) {
        struct fake_heap heap;
        fake_new(&heap, n, held ? FAKE_HOLES : FAKE_DENSE);
        for (size_t i = 0; i < n; i++)
            fake_refer(&heap, i, (i + 1) % n);
        if (held)
            fake_hold(&heap, n / 2, 1);
        verify(&heap, held ? 0 : n, 1);
    }
}

/* All hang below one object that refers to itself. */
static void test_chain(void **state)
{
    (void)state;
    size_t n = fake_scaled(1000000, 1000);
    struct fake_heap heap;
    fake_new(&heap, n, FAKE_HOLES);
    fake_refer(&heap, 0, 0);
    for (size_t i = 0; i + 1 < n; i++)
        fake_refer(&heap, i, i + 1);
    verify(&heap, n, n);
}

static void test_doubly_linked_list(void **state)
{
    (void)state;
    size_t n = fake_scaled(1000000, 1000);
    struct fake_heap heap;
    fake_new(&heap, n, FAKE_HOLES);
    for (size_t i = 0; i + 1 < n; i++) {
        fake_refer(&heap, i, i + 1);
        fake_refer(&heap, i + 1, i);
    }
    verify(&heap, n, 1);
}

static void test_trees_with_parent_links(void **state)
{
    (void)state;
    size_t trees = fake_scaled(1000, 10), size = 1023;
    struct fake_heap heap;
    fake_new(&heap, trees * size, FAKE_DENSE);
    for (size_t t = 0; t < trees; t++) {
        for (size_t i = 1; i < size; i++) {
            fake_refer(&heap, t * size + (i - 1) / 2, t * size + i);
            fake_refer(&heap, t * size + i, t * size + (i - 1) / 2);
        }
        if (t % 2)
            fake_hold(&heap, t * size + size - 1, 1);
    }
    verify(&heap, (trees + 1) / 2 * size, (trees + 1) / 2);
}

/* One object that refers to all others, and they to it: a list of its own members. */
static void test_hub(void **state)
{
    (void)state;
    size_t n = fake_scaled(2000000, 1000);
    struct fake_heap heap;
    fake_new(&heap, n, FAKE_DENSE);
    for (size_t i = 1; i < n; i++) {
        fake_refer(&heap, n / 2, i == n / 2 ? 0 : i);
        fake_refer(&heap, i == n / 2 ? 0 : i, n / 2);
    }
    verify(&heap, n, 1);
}

/* Ten million items that are a few objects, and some that are none. */
static void test_long_list(void **state)
{
    (void)state;
    size_t n = 1000, items = fake_scaled(10000000, 10000);
    struct fake_heap heap;
    fake_new(&heap, n, FAKE_DENSE);
    for (size_t i = 0; i < items; i++)
        fake_refer(&heap, 500, i % 7 ? i % n : FAKE_OUTSIDE);
    for (size_t i = 0; i < n; i++)
        if (heap.objects[i]->count == 0)
            fake_refer(&heap, 500, i);
    verify(&heap, n, n);
}

/* Most reachable, a tenth in small rings, references all over the place. */
static void test_service(void **state)
{
    (void)state;
    size_t n = fake_scaled(3000000, 3000) / 30 * 30, live = n / 10 * 9;
    struct fake_heap heap;
    fake_new(&heap, n, FAKE_HOLES);
    fake_hold(&heap, 0, 1);
    for (size_t i = 1; i < live; i++) {
        fake_refer(&heap, fake_below(i), i);
        fake_refer(&heap, i, fake_below(live));
    }
    for (size_t i = live; i < n; i += 3)
        for (size_t k = 0; k < 3; k++) {
            fake_refer(&heap, i + k, i + (k + 1) % 3);
            fake_refer(&heap, i + k, fake_below(live));
        }
    verify(&heap, n - live, (n - live) / 3);
}

int main(void)
{
    fake_seed_from_environment();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_doubly_linked_list),
        cmocka_unit_test(test_trees_with_parent_links),
        cmocka_unit_test(test_hub),
        cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

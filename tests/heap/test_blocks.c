/* test_blocks.c: blocks, one thing at a time: sizes, content, regions, and a range that is used up. */
#define _GNU_SOURCE
#include "../platform/processes.h"
#include "model.h"

#include <sys/resource.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static struct heap *heap;

static int small_heap(void **state)
{
    (void)state;
    const struct heap_options options = {.reserve = 256 * MIB};
    heap = heap_new(&options);
    return heap == NULL;
}

static int no_heap(void **state)
{
    (void)state;
    const char *wrong = heap_check(heap);
    if (wrong != NULL)
        printf("heap_check: %s\n", wrong);
    heap_delete(heap);
    heap = NULL;
    return wrong != NULL;
}

static bool is_room(const void *block)
{
    return heap_slab_of(heap, block)->kind == HEAP_UNIT_ROOM;
}

/* --- sizes -------------------------------------------------------------------------------------- */

static const size_t large_sizes[] = {32768,   32769, 65535,   65536,   65537,
                                     MIB - 1, MIB,   MIB + 1, 9 * MIB, 9 * MIB + 1};

static void look_at_block(enum heap_region region, size_t bytes)
{
    char *block = heap_alloc(heap, region, bytes), *other = heap_alloc(heap, region, bytes);
    size_t usable = heap_block_bytes(heap, block), found = 0;
    assert_non_null(block);
    assert_non_null(other);
    assert_int_equal((uintptr_t)block % 16, 0);
    assert_true(heap_owns(heap, block) && heap_owns(heap, block + usable - 1));
    assert_true(usable >= bytes && usable >= 1);
    assert_true(bytes <= 512 ? usable < bytes + 16 + (bytes == 0) : usable <= bytes + bytes / 16 + HEAP_PAGE);
    assert_int_equal(is_room(block), bytes > HEAP_LARGEST_SLOT);
    assert_true(other + usable <= block || block + usable <= other);
    assert_ptr_equal(heap_block_at(heap, block + usable - 1, &found), block);
    assert_int_equal(found, usable);
    memset(block, 1, usable);
    memset(other, 2, usable);
    assert_int_equal(block[0], 1);
    assert_int_equal(block[usable - 1], 1);
    heap_free(heap, block);
    heap_free(heap, other);
}

static void test_every_size(void **state)
{
    (void)state;
    for (unsigned region = 0; region < HEAP_REGIONS; region++) {
        for (size_t bytes = 0; bytes <= 600; bytes++)
            look_at_block(region, bytes);
        for (unsigned size_class = 1; size_class < HEAP_CLASSES; size_class++) {
            size_t border = model_class_bytes(size_class);
            for (size_t bytes = border - 1; bytes <= border + 1; bytes++)
                look_at_block(region, bytes);
            void *block = heap_alloc(heap, region, border);
            assert_int_equal(heap_block_bytes(heap, block), border); /* the model's sizes are the heap's */
        }
        for (size_t i = 0; i < sizeof large_sizes / sizeof *large_sizes; i++)
            look_at_block(region, large_sizes[i]);
        assert_null(heap_check(heap));
    }
}

static int by_address(const void *a, const void *b)
{
    uintptr_t first = *(const uintptr_t *)a, second = *(const uintptr_t *)b;
    return first < second ? -1 : first > second;
}

static void test_no_bytes(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static uintptr_t blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (uintptr_t)(i % 2 ? heap_alloc(heap, HEAP_OBJECTS, i % 4 / 2)
                                      : heap_alloc_zeroed(heap, HEAP_OBJECTS, 0));
        assert_int_not_equal(blocks[i], 0);
    }
    qsort(blocks, COUNT, sizeof *blocks, by_address);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(blocks[i] - blocks[i - 1] >= 16);
    for (size_t i = 0; i < COUNT; i++) {
        void *block = heap_realloc(heap, (void *)blocks[i], i % 3 * 100);
        assert_non_null(block);
        block = heap_realloc(heap, block, 0);
        assert_non_null(block);
        heap_free(heap, block);
    }
}

static void test_more_than_there_is(void **state)
{
    (void)state;
    char *small = heap_alloc(heap, HEAP_OBJECTS, 2000), *large = heap_alloc(heap, HEAP_BUFFERS, 2 * MIB);
    size_t quarter = heap->span / 4;
    memset(small, 1, 2000);
    memset(large, 2, 2 * MIB);
    errno = 77;
    /* And an eighth more than some of these is nearly nothing. */
    const size_t sizes[] = {SIZE_MAX,         SIZE_MAX - 15,        SIZE_MAX / 2,
                            SIZE_MAX / 9 * 8, SIZE_MAX / 9 * 8 + 2, SIZE_MAX / 9 * 8 + 1000,
                            quarter + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_null(heap_alloc(heap, HEAP_OBJECTS, sizes[i]));
        assert_null(heap_alloc_zeroed(heap, HEAP_BUFFERS, sizes[i]));
        assert_null(heap_realloc(heap, small, sizes[i]));
        assert_null(heap_realloc(heap, large, sizes[i]));
    }
    assert_int_equal(errno, 77);
    for (size_t i = 0; i < 2 * MIB; i++)
        assert_true(large[i] == 2 && (i >= 2000 || small[i] == 1));
    void *largest = heap_alloc(heap, HEAP_OBJECTS, quarter);
    assert_non_null(largest);
    assert_null(heap_check(heap));
}

/* --- content ------------------------------------------------------------------------------------ */

static void assert_zero(const char *block, size_t bytes)
{
    assert_true(bytes == 0 || (block[0] == 0 && memcmp(block, block + 1, bytes - 1) == 0));
}

static void test_zeroed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4; round++) /* of blocks that were used, in their usable bytes, too */
        for (size_t bytes = 1; bytes < 3 * MIB; bytes += bytes / 2 + 1) {
            char *blocks[5];
            for (unsigned i = 0; i < 5; i++) {
                /* The larger one leaves more memory behind than the next one asks for. */
                size_t asked = round % 2 ? bytes : bytes - bytes / 10;
                blocks[i] = heap_alloc_zeroed(heap, i % 2 ? HEAP_OBJECTS : HEAP_BUFFERS, asked);
                assert_non_null(blocks[i]);
                assert_zero(blocks[i], asked);
                memset(blocks[i], 0xFF, heap_block_bytes(heap, blocks[i]));
            }
            if (round == 2) {
                bool done;
                heap_tick(heap, bytes * 1000000000);
                heap_purge(heap, UINT64_MAX, &done);
            }
            for (unsigned i = 0; i < 5; i++)
                heap_free(heap, blocks[i]);
        }
}

static void test_zeroed_where_one_moved_away(void **state)
{
    (void)state;
    /* It takes its pages along, and leaves a room behind. */
    char *block = heap_alloc(heap, HEAP_BUFFERS, 4 * MIB);
    memset(block, 0xFF, 4 * MIB);
    char *moved = heap_realloc(heap, block, 4 * MIB + 1);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    char *next = heap_alloc_zeroed(heap, HEAP_BUFFERS, 3 * MIB);
    assert_ptr_equal(next, block);
    assert_zero(next, 3 * MIB);
    assert_int_equal(moved[4 * MIB - 1], (char)0xFF);
}

/* All usable bytes are the block's, and stay its. */
static void test_realloc_keeps_content(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,     16,    17,    500,   513,    1000,    5000,    28000,   32768,
                                   32769, 40000, 65536, 70000, 300000, 1048576, 1500000, 3000000, 9 << 20};
    size_t count = sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < count * count; i++) {
        enum heap_region region = i % 5 % 2 ? HEAP_OBJECTS : HEAP_BUFFERS;
        size_t from = sizes[i / count], to = sizes[i % count];
        unsigned char *block = heap_alloc(heap, region, from);
        size_t usable = heap_block_bytes(heap, block), kept = usable < to ? usable : to;
        for (size_t k = 0; k < usable; k += 1 + k / 2000)
            block[k] = (unsigned char)(k * 31 + i);
        block = heap_realloc(heap, block, to);
        assert_non_null(block);
        assert_true(heap_block_bytes(heap, block) >= to);
        for (size_t k = 0; k < kept; k += 1 + k / 2000)
            assert_int_equal(block[k], (unsigned char)(k * 31 + i));
        assert_int_equal(is_room(block), to > HEAP_LARGEST_SLOT);
        if (!is_room(block))
            assert_int_equal(heap_slab_of(heap, block)->region, region);
        heap_free(heap, block);
    }
}

static void test_realloc_to_the_same_class_stays(void **state)
{
    (void)state;
    char *block = heap_alloc(heap, HEAP_OBJECTS, 100);
    for (size_t bytes = 97; bytes <= 112; bytes++)
        assert_ptr_equal(heap_realloc(heap, block, bytes), block);
    assert_ptr_equal(heap_realloc(heap, block, 85), block); /* a little less is not worth a copy */
    assert_ptr_not_equal(heap_realloc(heap, block, 40), block);
    block = heap_alloc(heap, HEAP_OBJECTS, 70000);
    for (size_t bytes = 32769; bytes <= 131072; bytes += 1000)
        assert_ptr_equal(heap_realloc(heap, block, bytes), block);
}

/* As a list that is appended to. Its pages are moved, so the system sees it in several pieces; not in ever
 * more. */
static void test_growth(void **state)
{
    (void)state;
    const struct heap_options options = {.reserve = 4 * GIB};
    struct heap *large = heap_new(&options);
    if (large == NULL)
        skip();
    int mappings = map_count();
    size_t bytes = 8, filled = 0, *block = heap_alloc(large, HEAP_BUFFERS, bytes);
    while (bytes < 100 * MIB) {
        bytes = (bytes + bytes / 8 + 64) & ~(size_t)7;
        block = heap_realloc(large, block, bytes);
        assert_non_null(block);
        for (; filled < bytes / sizeof *block; filled++)
            block[filled] = filled;
    }
    for (size_t i = 0; i < filled; i++)
        assert_true(block[i] == i);
    assert_null(heap_check(large));
    assert_true(map_count() < mappings + 64);
    heap_delete(large);
}

/* --- others free --------------------------------------------------------------------------------- */

static void test_remote(void **state)
{
    (void)state;
    struct heap_figures figures;
    void *slot = heap_alloc(heap, HEAP_OBJECTS, 40), *room = heap_alloc(heap, HEAP_OBJECTS, 400000);
    heap_free_remote(heap, slot);
    heap_free_remote(heap, room);
    heap_tell(heap, &figures);
    assert_int_equal(figures.blocks, 2);
    assert_null(heap_check(heap));
    heap_settle(heap);
    heap_tell(heap, &figures);
    assert_int_equal(figures.blocks, 0);
    assert_ptr_equal(heap_alloc(heap, HEAP_BUFFERS, 400000), room);
    /* It also happens when memory is wanted. */
    void *blocks[4096 / 16];
    for (unsigned i = 0; i < 4096 / 16; i++)
        blocks[i] = heap_alloc(heap, HEAP_BUFFERS, 256);
    for (unsigned i = 0; i < 4096 / 16; i++)
        heap_free_remote(heap, blocks[i]);
    for (unsigned i = 0; i < 4096 / 16; i++)
        (void)heap_alloc(heap, HEAP_BUFFERS, 256);
    assert_null(heap_check(heap));
    heap_settle(heap);
    heap_tell(heap, &figures);
    assert_int_equal(figures.blocks, 1 + 4096 / 16);
}

/* --- the range ---------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    (void)state;
    heap_delete(NULL);
    static const size_t refused[] = {1, 4 * MIB, 32 * MIB, (size_t)1 << 47, (size_t)1 << 62};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct heap_options options = {.reserve = refused[i]};
        assert_null(heap_new(&options));
    }
    /* Whatever is asked for first finds its descriptor. */
    for (size_t reserve = 64 * MIB; reserve <= 2 * GIB; reserve *= 2)
        for (unsigned first = 0; first < 3; first++) {
            const struct heap_options options = {.reserve = reserve};
            struct heap *other = heap_new(&options);
            if (other == NULL && platform_page_bytes() > 16384 && reserve < 256 * MIB)
                continue; /* less would not be whole pages of descriptors */
            assert_non_null(other);
            assert_int_equal(other->span, reserve);
            assert_int_equal((uintptr_t)other->base % HEAP_ARENA, 0);
            for (unsigned i = first; i < first + 3; i++) {
                char *block =
                    heap_alloc(other, i % 3 == 0 ? HEAP_OBJECTS : HEAP_BUFFERS, i % 3 == 2 ? MIB : 100);
                assert_non_null(block);
                memset(block, 1, 100);
                assert_null(heap_check(other));
            }
            heap_delete(other);
        }
    struct heap *usual = heap_new(NULL), *second = heap_new(NULL);
    assert_non_null(usual);
    assert_non_null(second);
    void *block = heap_alloc(usual, HEAP_OBJECTS, 10);
    assert_true(heap_owns(usual, block) && !heap_owns(second, block) && !heap_owns(usual, NULL));
    size_t bytes;
    assert_null(heap_block_at(second, block, &bytes));
    assert_false(heap_wants_move(second, block));
    heap_delete(usual);
    heap_delete(second);
}

/* Take blocks of these sizes in turn until there are none; returns how many. */
static size_t exhaust(struct model *model, enum heap_region region, const size_t *sizes, size_t count)
{
    size_t before = model->count, refused = 0;
    for (size_t i = 0; refused < count; i++)
        refused = model_alloc(model, region, sizes[i % count], i % 7 == 0) == NULL ? refused + 1 : 0;
    return model->count - before;
}

static void test_used_up(void **state)
{
    (void)state;
    static const size_t slots[] = {16, 48, 700, 3000, 20000, 32768};
    static const size_t rooms[] = {9 * MIB, 3 * MIB, 200000, 40000};
    const struct model_options options = {.reserve = 64 * MIB, .at_most = SIZE_MAX};
    struct model model = {.random = 1};
    bool done;
    model_new(&model, &options, model_random_below);
    MUST(model.may_fail);
    for (unsigned round = 0; round < 3; round++) {
        errno = 77;
        size_t objects = exhaust(&model, HEAP_OBJECTS, slots, 6);
        size_t buffers = exhaust(&model, HEAP_BUFFERS, slots, 6);
        size_t large = exhaust(&model, HEAP_BUFFERS, rooms, 4);
        assert_int_equal(errno, 77);
        assert_true(objects > 1500 && buffers > 1500 && large > 10);
        /* With nothing left the first grain to be marked may be the last one there is. */
        for (size_t i = 0; i < model.count; i++)
            if (model.blocks[i].region == HEAP_OBJECTS && heap_mark(model.heap, model.blocks[i].at))
                model.blocks[i].marks = 1;
        model_verify_all(&model);
        for (size_t i = 0; i < model.count; i += 50)
            (void)model_realloc(&model, i, model.blocks[i].bytes * 2);
        model_verify_all(&model);
        model_thin(&model, 3);
        model_verify_all(&model);
        assert_true(exhaust(&model, HEAP_OBJECTS, slots, 1) > 0);
        assert_true(exhaust(&model, HEAP_BUFFERS, slots, 1) > 0);
        assert_true(exhaust(&model, HEAP_BUFFERS, rooms + 3, 1) > 0);
        model_verify_all(&model);
        if (round == 1)
            heap_purge(model.heap, UINT64_MAX, &done);
        while (model.count > 0)
            model_release(&model, model.count - 1);
        model_verify_all(&model);
    }
    model_free(&model);
}

/* A region of the smallest blocks, all marked: what is beside the last mark is another table. */
static void test_the_last_grain(void **state)
{
    (void)state;
    const struct heap_options options = {.reserve = 64 * MIB};
    struct heap *full = heap_new(&options);
    if (full == NULL)
        skip();
    void **last = NULL, **block;
    while ((block = heap_alloc(full, HEAP_OBJECTS, 16)) != NULL) {
        assert_true(heap_mark(full, block));
        *block = last;
        last = block;
    }
    assert_true(heap_marked(full, full->base + full->span / 4 - 16));
    for (; last != NULL; last = block) {
        block = *last;
        heap_free(full, last);
    }
    assert_null(heap_check(full));
    heap_delete(full);
}

/* --- limits of the process ----------------------------------------------------------------------- */

static bool limit_address_space(size_t bytes)
{
    const struct rlimit limit = {bytes, bytes};
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

static int little_space(void)
{
    EXPECT(limit_address_space(4 * GIB));
    struct heap *little = heap_new(NULL);
    EXPECT(little != NULL);
    EXPECT(little->span >= 64 * MIB); /* it is not reserved: the limit does not matter until it is used */
    for (size_t i = 0; i < 10000; i++) {
        char *block = heap_alloc(little, i % 2 ? HEAP_OBJECTS : HEAP_BUFFERS, i);
        EXPECT(block != NULL);
        memset(block, 1, i);
    }
    EXPECT(heap_check(little) == NULL);
    heap_delete(little);
    /* With hardly any there is a heap, or none, or nothing in it; and the C library gets its own. */
    EXPECT(limit_address_space(32 * MIB));
    little = heap_new(NULL);
    for (size_t i = 0; little != NULL && i < 100000 && heap_alloc(little, HEAP_OBJECTS, 500) != NULL; i++)
        ;
    EXPECT(little == NULL || heap_check(little) == NULL);
    return 0;
}

/* A program may limit itself after it has begun. The heap then lives with what it has reserved. */
static int limited_later(void)
{
    const struct heap_options options = {.reserve = 256 * MIB};
    struct heap *limited = heap_new(&options);
    EXPECT(limited != NULL);
    char *block = heap_alloc(limited, HEAP_BUFFERS, 4 * MIB);
    memset(block, 7, 4 * MIB);
    EXPECT(limit_address_space(16 * MIB));
    block = heap_realloc(limited, block, 9 * MIB);
    EXPECT(block != NULL);
    for (size_t i = 0; i < 4 * MIB; i++)
        EXPECT(block[i] == 7);
    memset(block, 8, 9 * MIB);
    for (size_t i = 0; i < 5000; i++) {
        char *small = heap_alloc(limited, HEAP_OBJECTS, 1000);
        EXPECT(small != NULL);
        memset(small, 1, 1000);
    }
    EXPECT(heap_check(limited) == NULL);
    return 0;
}

static void test_limits(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* they need address space themselves */
    assert_int_equal(in_child(little_space, 20), 0);
    assert_int_equal(in_child(limited_later, 20), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_size, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_no_bytes, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_more_than_there_is, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_zeroed, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_zeroed_where_one_moved_away, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_realloc_keeps_content, small_heap, no_heap),
        cmocka_unit_test_setup_teardown(test_realloc_to_the_same_class_stays, small_heap, no_heap),
        cmocka_unit_test(test_growth),
        cmocka_unit_test_setup_teardown(test_remote, small_heap, no_heap),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_used_up),
        cmocka_unit_test(test_the_last_grain),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("heap: blocks", tests, NULL, NULL);
}

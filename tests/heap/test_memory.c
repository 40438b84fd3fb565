/* test_memory.c: empty pages really go back, as the system counts them (mincore), and what the heap tells
 * of its memory is so. */
#include "../pacer/random.h"
#include "model.h"

#include "../../src/heap/internal.h"

#include <pthread.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static struct model model;

/* --- pages -------------------------------------------------------------------------------------- */

/* A part of the range that is in use: a region's open arenas, or the rooms. */
struct part {
    char *start;
    size_t pages;
    unsigned char *resident; /* by page, as the system says */
    bool *used;              /* by page: some block touches it */
};
#define PARTS (HEAP_REGIONS + 1)

static void parts_look(struct part parts[PARTS])
{
    const struct heap_inside *inside = model.heap->inside;
    for (unsigned i = 0; i < PARTS; i++) {
        struct part *part = &parts[i];
        part->start = model.heap->base + i * inside->region_span;
        part->pages = i < HEAP_REGIONS ? inside->regions[i].arenas_open * (HEAP_ARENA / HEAP_PAGE)
                                       : inside->rooms.next * (HEAP_UNIT / HEAP_PAGE);
        part->resident = malloc(part->pages + 1);
        part->used = calloc(part->pages + 1, sizeof *part->used);
        MUST(part->pages == 0 || platform_resident(part->start, part->pages * HEAP_PAGE, part->resident));
    }
    for (size_t i = 0; i < model.count; i++) {
        const struct model_block *block = &model.blocks[i];
        size_t offset = (size_t)(block->at - model.heap->base), place = offset / inside->region_span;
        struct part *part = &parts[place < HEAP_REGIONS ? place : HEAP_REGIONS];
        size_t page = (size_t)(block->at - part->start) / HEAP_PAGE;
        size_t last =
            (size_t)(block->at + heap_block_bytes(model.heap, block->at) - 1 - part->start) / HEAP_PAGE;
        for (; page <= last; page++)
            part->used[page] = true;
    }
}

static void parts_free(struct part parts[PARTS])
{
    for (unsigned i = 0; i < PARTS; i++) {
        free(parts[i].resident);
        free(parts[i].used);
    }
}

struct count {
    size_t resident; /* pages that hold memory */
    size_t strays;   /* of those, the ones that no block touches, outside huge pages */
    size_t huge;     /* arenas that are to be huge */
};

static struct count count_pages(void)
{
    struct part parts[PARTS];
    struct count count = {0, 0, 0};
    parts_look(parts);
    for (unsigned i = 0; i < PARTS; i++)
        for (size_t page = 0; page < parts[i].pages; page++) {
            size_t arena = page * HEAP_PAGE / HEAP_ARENA;
            bool huge = i < HEAP_REGIONS && arena_at(model.heap, i, (uint32_t)arena)->huge;
            count.resident += parts[i].resident[page];
            count.strays += parts[i].resident[page] && !parts[i].used[page] && !huge;
            count.huge += huge && page * HEAP_PAGE % HEAP_ARENA == 0;
        }
    parts_free(parts);
    return count;
}

static struct part *viewed; /* parts */

static void see_unit(void *context, const struct heap_unit_view *view)
{
    unsigned part = view->region;
    size_t first = (size_t)((char *)view->at - viewed[part].start) / HEAP_PAGE;
    (void)context;
    for (size_t i = 0; i < HEAP_UNIT / HEAP_PAGE; i++) {
        bool resident = viewed[part].resident[first + i], used = viewed[part].used[first + i];
        MUST((view->occupancy[i] != 0 && view->occupancy[i] != 255) == used);
        MUST(view->occupancy[i] != 255 || !resident);
    }
}

/* What the heap says holds no memory holds none. */
static void verify_view(void)
{
    struct part parts[PARTS];
    struct heap_figures figures;
    parts_look(parts);
    viewed = parts;
    heap_view(model.heap, see_unit, NULL);
    parts_free(parts);
    heap_tell(model.heap, &figures);
    MUST(count_pages().resident * HEAP_PAGE <= figures.resident_bytes);
}

static size_t resident_bytes(void)
{
    return count_pages().resident * HEAP_PAGE;
}

static size_t purge(void)
{
    bool done = false;
    size_t given = heap_purge(model.heap, UINT64_MAX, &done);
    MUST(done);
    return given;
}

/* --- whole pages, among many blocks ------------------------------------------------------------- */

static void begin(size_t reserve)
{
    const struct model_options options = {.reserve = reserve, .at_most = SIZE_MAX};
    model.random = case_seed;
    model_new(&model, &options, model_random_below);
    model.may_fail = false;
    model.alone = true;
}

static void end(void)
{
    model_verify_all(&model);
    model_free(&model);
}

static void fill(enum heap_region region, size_t bytes, size_t all)
{
    for (size_t i = 0; i < all / bytes; i++)
        (void)model_alloc(&model, region, bytes, false);
}

/* Free all but about one of n, at random. */
static void thin(size_t n)
{
    for (size_t i = model.count; i-- > 0;)
        if (model_random_below(&model, n) != 0)
            model_release(&model, i);
}

static void thin_and_purge(enum heap_region region, size_t bytes, size_t all)
{
    struct heap_figures figures;
    begin(0);
    fill(region, bytes, all);
    thin(100);
    size_t before = resident_bytes();
    verify_view();
    assert_true(before >= all - all / 16);
    size_t given = purge();
    struct count count = count_pages();
    assert_int_equal(count.strays, 0);
    assert_int_equal(count.huge, 0);
    /* A free unit counts as a whole, though no slot may have lain at its end. */
    size_t gone = before - count.resident * HEAP_PAGE;
    assert_in_range(given, gone, gone + gone / 6 + 2 * HEAP_UNIT);
    heap_tell(model.heap, &figures);
    assert_int_equal(figures.returned_bytes, given);
    assert_int_equal(figures.resident_bytes, count.resident * HEAP_PAGE);
    verify_view();
    assert_int_equal(purge(), 0); /* there is nothing more */
    model_verify_all(&model);
    /* And all of it is usable again. */
    fill(region, bytes, all);
    model_verify_all(&model);
    verify_view();
    thin(2);
    purge();
    assert_int_equal(count_pages().strays, 0);
    end();
}

static void test_thinned_slabs(void **state)
{
    (void)state;
    static const size_t sizes[] = {16, 48, 64, 208, 512, 544, 1000, 1792, 4096, 5000, 11000, 20000, 32768};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        thin_and_purge(i % 2 ? HEAP_OBJECTS : HEAP_BUFFERS, sizes[i], 8 * MIB);
}

static void test_thinned_rooms(void **state)
{
    (void)state;
    begin(0);
    static const size_t sizes[] = {32769, 70000, 300000, 1500000, 9 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned k = 0; k < 10; k++)
            (void)model_alloc(&model, k % 2 ? HEAP_OBJECTS : HEAP_BUFFERS, sizes[i], false);
    verify_view();
    thin(3);
    verify_view();
    purge();
    assert_int_equal(count_pages().strays, 0);
    verify_view();
    model_thin(&model, SIZE_MAX);
    model_release(&model, 0);
    purge();
    assert_int_equal(count_pages().resident, 0);
    struct heap_figures figures;
    heap_tell(model.heap, &figures);
    assert_int_equal(figures.mapped_bytes, 0);
    end();
}

/* A block that shrinks in its room keeps some memory behind it, until that is asked for. */
static void test_shrunk_rooms(void **state)
{
    (void)state;
    begin(0);
    for (unsigned i = 0; i < 8; i++)
        (void)model_alloc(&model, HEAP_BUFFERS, 300000 << i / 2, false);
    for (unsigned i = 0; i < 8; i++)
        (void)model_realloc(&model, i, i % 2 ? 40000 : model.blocks[i].bytes / 10 * 9);
    verify_view();
    purge();
    assert_int_equal(count_pages().strays, 0);
    verify_view();
    end();
}

/* Past 64 MiB the arenas are huge pages, and past twice that the earlier ones become so. */
static void test_thinned_huge_pages(void **state)
{
    (void)state;
    thin_and_purge(HEAP_OBJECTS, 480, 160 * MIB);
}

/* --- memory that was there before --------------------------------------------------------------- */

/* A unit that held one class, and was not given back, becomes a slab of another: memory that it brings
 * along is known, though no slot of the new class has touched it. */
static void test_reused_units(void **state)
{
    (void)state;
    begin(0);
    fill(HEAP_OBJECTS, 128, 2 * MIB);
    model_thin(&model, SIZE_MAX);
    for (size_t bytes = 16; bytes <= HEAP_LARGEST_SLOT; bytes += bytes / 4 / 16 * 16 + 16)
        (void)model_alloc(&model, HEAP_OBJECTS, bytes, false);
    verify_view();
    purge();
    assert_int_equal(count_pages().strays, 0);
    verify_view();
    end();
}

/* A tick breaks huge pages whose units are free; the slabs between them had memory that they never used. */
static void test_huge_pages_broken_by_ticks(void **state)
{
    (void)state;
    size_t all = 2 * HUGE_FROM + 20 * MIB;
    begin(0);
    fill(HEAP_BUFFERS, 4096, all);
    for (unsigned size_class = 1; size_class < HEAP_CLASSES; size_class++)
        (void)model_alloc(&model, HEAP_BUFFERS, model_class_bytes(size_class), false);
    size_t others = model.count - (HEAP_CLASSES - 1);
    for (size_t i = 0; i < others; i++)
        model_release(&model, 0);
    for (unsigned i = 1; i < 4; i++)
        heap_tick(model.heap, i * SECOND);
    verify_view();
    purge();
    assert_int_equal(count_pages().strays, 0);
    verify_view();
    end();
}

/* Huge pages that are made whole again while blocks come and go. */
static void *mend(void *stop)
{
    while (!atomic_load((_Atomic bool *)stop)) {
        uint32_t next = 0;
        while (heap_mend(model.heap, &next))
            continue;
    }
    return NULL;
}

static void test_mended_meanwhile(void **state)
{
    (void)state;
    if (UNDER_TSAN)
        skip(); /* what is read without holding the heap may be changing, and says so */
    _Atomic bool stop = false;
    pthread_t thread;
    begin(0);
    assert_false(heap_has_huge(model.heap));
    fill(HEAP_OBJECTS, 2000, HUGE_FROM + 40 * MIB);
    assert_true(heap_has_huge(model.heap));
    assert_int_equal(pthread_create(&thread, NULL, mend, &stop), 0);
    for (unsigned round = 1; round < 5; round++) {
        thin(round * 10);
        purge();
        assert_int_equal(count_pages().strays, 0);
        fill(HEAP_OBJECTS, 1000 * round, 40 * MIB);
        heap_tick(model.heap, round * SECOND);
    }
    stop = true;
    pthread_join(thread, NULL);
    thin(100);
    purge();
    purge();
    assert_int_equal(count_pages().strays, 0);
    uint32_t next = 0, arenas = 0;
    while (heap_mend(model.heap, &next))
        arenas++;
    assert_int_equal(arenas, model.heap->inside->regions[HEAP_OBJECTS].arenas_open);
    assert_int_equal(count_pages().strays, 0);
    end();
}

/* --- the tick ----------------------------------------------------------------------------------- */

static void test_ticks(void **state)
{
    (void)state;
    begin(0);
    fill(HEAP_OBJECTS, 300, 10 * MIB);
    fill(HEAP_BUFFERS, 3000, 10 * MIB);
    fill(HEAP_BUFFERS, 400000, 10 * MIB);
    heap_tick(model.heap, 10 * SECOND);
    while (model.count > 0)
        model_release(&model, model.count - 1);
    size_t before = resident_bytes();
    assert_true(before > 25 * MIB);
    heap_tick(model.heap, 10 * SECOND + 400 * MS); /* too early for a look */
    assert_int_equal(resident_bytes(), before);
    heap_tick(model.heap, 11 * SECOND); /* the first look */
    assert_int_equal(resident_bytes(), before);
    assert_true(heap_dirty_bytes(model.heap) >= before - MIB);
    heap_tick(model.heap, 11 * SECOND + 499 * MS);
    assert_int_equal(resident_bytes(), before);
    heap_tick(model.heap, 11 * SECOND + 500 * MS); /* the second */
    assert_true(resident_bytes() < MIB);           /* slabs that classes take from, at most */
    assert_int_equal(heap_dirty_bytes(model.heap), 0);
    verify_view();
    end();
}

/* Memory behind a block that has shrunk goes back likewise, unless the block grows into it again. */
static void test_ticks_behind_blocks(void **state)
{
    (void)state;
    begin(0);
    for (unsigned i = 0; i < 2; i++)
        (void)model_alloc(&model, HEAP_BUFFERS, 3 * MIB, false);
    heap_tick(model.heap, SECOND);
    for (unsigned i = 0; i < 2; i++)
        (void)model_realloc(&model, i, MIB);
    verify_view();
    heap_tick(model.heap, 2 * SECOND);
    assert_int_equal(resident_bytes(), 6 * MIB);
    (void)model_realloc(&model, 1, 3 * MIB);
    heap_tick(model.heap, 3 * SECOND);
    heap_tick(model.heap, 4 * SECOND);
    assert_int_equal(resident_bytes(), 4 * MIB);
    verify_view();
    end();
}

/* What is used again between two looks stays. */
static void test_breathing(void **state)
{
    (void)state;
    struct heap_figures figures;
    begin(0);
    for (unsigned i = 1; i < 20; i++) {
        fill(HEAP_OBJECTS, 300, 3 * MIB); /* no huge page: one that is hardly used goes back */
        fill(HEAP_BUFFERS, 400000, 8 * MIB);
        model_thin(&model, SIZE_MAX);
        heap_tick(model.heap, i * SECOND);
    }
    heap_tell(model.heap, &figures);
    assert_int_equal(figures.returned_bytes, 0);
    end();
}

/* Fresh memory is not taken while much lies unused elsewhere; by units, and by huge pages. */
static void exchange(size_t before, size_t unused)
{
    begin(0);
    fill(HEAP_OBJECTS, 200, before);
    size_t kept = model.count;
    fill(HEAP_BUFFERS, 3000, unused / 2);
    fill(HEAP_BUFFERS, 500000, unused / 2);
    while (model.count > kept)
        model_release(&model, model.count - 1);
    assert_true(resident_bytes() > before + unused / 16 * 15);
    fill(HEAP_OBJECTS, 200, unused * 2);
    assert_true(resident_bytes() < before + unused * 2 + unused / 2);
    end();
}

static void test_exchange(void **state)
{
    (void)state;
    exchange(0, 16 * MIB);
    exchange(HUGE_FROM, 16 * MIB);
}

/* Where nothing is any more, the tables beside hold nothing either. */
static void test_side_tables(void **state)
{
    (void)state;
    begin(0);
    MUST(heap_freed_begin(model.heap));
    fill(HEAP_OBJECTS, 64, 20 * MIB);
    for (size_t i = 0; i < model.count; i++)
        MUST(heap_mark(model.heap, model.blocks[i].at) && heap_freed_note(model.heap, model.blocks[i].at));
    for (size_t i = 0; i < model.count; i++) {
        MUST(heap_freed(model.heap, model.blocks[i].at));
        heap_freed_forget(model.heap, model.blocks[i].at);
        model.blocks[i].marks = 1;
    }
    heap_freed_end(model.heap);
    while (model.count > 0)
        model_release(&model, model.count - 1);
    purge();
    const struct heap_inside *inside = model.heap->inside;
    size_t bytes = inside->regions[HEAP_OBJECTS].arenas_open * (HEAP_ARENA / HEAP_GRAIN / 8),
           pages = bytes / HEAP_PAGE;
    const struct table *const tables[] = {&inside->marks, &inside->freed};
    for (size_t i = 0; i < 2; i++) {
        unsigned char *resident = malloc(pages);
        MUST(platform_resident(tables[i]->at, bytes, resident));
        assert_null(memchr(resident, 1, pages));
        free(resident);
    }
    /* And they are there when they are wanted again. */
    MUST(heap_freed_begin(model.heap));
    fill(HEAP_OBJECTS, 64, MIB);
    for (size_t i = 0; i < model.count; i++) {
        MUST(heap_mark(model.heap, model.blocks[i].at) && !heap_freed(model.heap, model.blocks[i].at));
        model.blocks[i].marks = 1;
    }
    end();
}

/* --- slices, and random histories --------------------------------------------------------------- */

static void test_slices(void **state)
{
    (void)state;
    size_t resident[2], given[2] = {0, 0}, calls = 0;
    for (unsigned sliced = 0; sliced < 2; sliced++) {
        begin(0);
        for (size_t bytes = 16; bytes < 20000; bytes *= 2) {
            fill(HEAP_OBJECTS, bytes, 2 * MIB);
            fill(HEAP_BUFFERS, bytes + 7, 2 * MIB);
        }
        fill(HEAP_BUFFERS, 100000, 2 * MIB);
        thin(50);
        bool done = false;
        while (!done) {
            given[sliced] += heap_purge(model.heap, sliced ? 1 : UINT64_MAX, &done);
            calls += sliced;
            assert_true(calls < 1000);
        }
        resident[sliced] = resident_bytes();
        assert_int_equal(count_pages().strays, 0);
        end();
    }
    assert_int_equal(resident[0], resident[1]);
    assert_int_equal(given[0], given[1]);
    assert_true(calls > 10);
}

static void test_random_histories(void **state)
{
    (void)state;
    for (size_t i = 0; i < random_cases(12); i++) {
        random_case(i);
        begin(i % 2 ? 0 : 256 * MIB);
        model.at_most = 64 * MIB;
        model.may_fail = i % 2 == 0;
        for (unsigned k = 0; k < 8; k++) {
            for (unsigned steps = 0; steps < 200; steps++)
                model_step(&model);
            heap_settle(model.heap);
            verify_view();
        }
        heap_evacuate_end(model.heap);
        purge(); /* this may end a round that is under way */
        purge();
        assert_int_equal(count_pages().strays, 0);
        verify_view();
        end();
    }
}

/* --- evacuation --------------------------------------------------------------------------------- */

static size_t slabs_of(enum heap_region region, size_t bytes)
{
    struct heap_class_figures figures;
    unsigned size_class = 1;
    while (model_class_bytes(size_class) < bytes)
        size_class++;
    heap_tell_class(model.heap, region, size_class, &figures);
    return figures.slabs;
}

/* What is to be moved fits into the gaps of what stays. */
static void verify_choice(enum heap_region region, size_t bytes)
{
    const struct heap_slab *slab = heap_slab_of(model.heap, arena_start(model.heap, region, 0));
    const struct heap_slab *last = slab + model.heap->inside->regions[region].arenas_open * UNITS_PER_ARENA;
    size_t gaps = 0, blocks = 0;
    for (; slab < last; slab++)
        if (slab->kind == HEAP_UNIT_SLAB && slab->slot_bytes >= bytes &&
            slab->size_class == class_of(bytes)) {
            bool moves = (slab->flags & HEAP_FLAG_EVACUATE) != 0;
            gaps += moves ? 0 : (size_t)(slab->capacity - slab->live);
            blocks += moves ? slab->live : 0;
        }
    assert_true(blocks > 0);
    assert_true(blocks <= gaps);
}

/* A few slabs with four slots, and a block in each: all but one of them can be emptied, or three of four. */
static void test_choice(void **state)
{
    (void)state;
    enum { SLOT = 16384 };
    for (size_t slabs = 2; slabs < 12; slabs++) {
        begin(0);
        fill(HEAP_BUFFERS, SLOT, slabs * HEAP_UNIT);
        for (size_t i = model.count; i-- > 0;)
            if (i % 4 != 0)
                model_release(&model, i);
        assert_int_equal(slabs_of(HEAP_BUFFERS, SLOT), slabs);
        size_t moving = heap_evacuate_begin(model.heap) / SLOT;
        verify_choice(HEAP_BUFFERS, SLOT);
        assert_int_equal(moving, slabs * 3 / 4);
        assert_int_equal(model_evacuate(&model, SIZE_MAX), moving);
        assert_int_equal(slabs_of(HEAP_BUFFERS, SLOT), slabs - moving);
        heap_evacuate_end(model.heap);
        end();
    }
}

static void test_evacuation(void **state)
{
    (void)state;
    static const size_t sizes[] = {32, 176, 720, 6000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t bytes = sizes[i];
        begin(0);
        fill(HEAP_BUFFERS, bytes, 4 * MIB);
        size_t all = model.count;
        thin(10);
        purge();
        size_t before = slabs_of(HEAP_BUFFERS, bytes), resident = resident_bytes();
        assert_true(before >= 30);
        assert_true(heap_evacuate_begin(model.heap) > 0);
        assert_true(heap_evacuating(model.heap));
        verify_choice(HEAP_BUFFERS, bytes);
        size_t wanting = model_evacuate(&model, SIZE_MAX);
        assert_true(wanting > 0 && wanting < all / 5);
        assert_int_equal(model_evacuate(&model, SIZE_MAX), 0);
        heap_evacuate_end(model.heap);
        assert_false(heap_evacuating(model.heap));
        purge();
        size_t after = slabs_of(HEAP_BUFFERS, bytes);
        printf("%zu bytes: %zu slabs, then %zu; %zu KiB, then %zu\n", bytes, before, after, resident / KIB,
               resident_bytes() / KIB);
        assert_true(after <= before / 3);
        assert_true(resident_bytes() < resident);
        assert_int_equal(count_pages().strays, 0);
        end();
    }
}

int main(void)
{
    if (platform_page_bytes() != HEAP_PAGE) /* pages go back by larger ones, then */
        return 77;
    random_from_environment();
    random_case(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thinned_slabs),
        cmocka_unit_test(test_thinned_rooms),
        cmocka_unit_test(test_shrunk_rooms),
        cmocka_unit_test(test_thinned_huge_pages),
        cmocka_unit_test(test_reused_units),
        cmocka_unit_test(test_huge_pages_broken_by_ticks),
        cmocka_unit_test(test_mended_meanwhile),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_ticks_behind_blocks),
        cmocka_unit_test(test_breathing),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_side_tables),
        cmocka_unit_test(test_slices),
        cmocka_unit_test_teardown(test_random_histories, random_tell),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_evacuation),
    };
    return cmocka_run_group_tests_name("heap: memory", tests, NULL, NULL);
}

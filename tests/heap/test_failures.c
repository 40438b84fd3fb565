/* test_failures.c: the system refuses memory, at each call in turn (needs a build with MIDDEN_FAULTS).
 * Nothing is lost, every invariant holds, and the next try is unharmed. */
#include "../platform/processes.h"
#include "../pacer/random.h"
#include "model.h"

#define MIB ((size_t)1 << 20)

static struct model model;

static void begin(bool ticks)
{
    const struct model_options options = {.reserve = 256 * MIB, .at_most = 12 * MIB, .ticks = ticks};
    model.random = case_seed;
    model_new(&model, &options, model_random_below);
    model.alone = true;
}

static void end(void)
{
    platform_faults_load("");
    model_verify_all(&model);
    while (model.count > 0)
        model_release(&model, model.count - 1);
    model_verify_all(&model);
    model_free(&model);
}

/* Steps that come to every system call: a block that grows out of its room, slabs of every kind, and what
 * comes. */
static void go_through(size_t steps)
{
    bool done;
    for (size_t bytes = 16; bytes < 40000; bytes += bytes / 2 / 16 * 16 + 16) {
        (void)model_alloc(&model, HEAP_OBJECTS, bytes, false);
        (void)model_alloc(&model, HEAP_BUFFERS, bytes, true);
        model_check(&model);
    }
    if (model_alloc(&model, HEAP_BUFFERS, 2 * MIB, false) != NULL)
        (void)model_realloc(&model, model.count - 1, 2 * MIB + 1);
    model_check(&model);
    for (size_t i = 0; i < steps; i++) {
        model_step(&model);
        model_check(&model);
        if (i % 50 == 49)
            heap_purge(model.heap, UINT64_MAX, &done);
    }
}

#ifdef MIDDEN_FAULTS

static void load(const char *kind, size_t call)
{
    char text[32];
    snprintf(text, sizeof text, "%s=%zu", kind, call);
    platform_faults_load(text);
}

/* Have there been so many calls of that kind? Ends the counting. */
static bool reached(enum platform_fault kind, size_t call)
{
    bool fails = false;
    for (size_t i = 0; i < call && !fails; i++)
        fails = platform_fault(kind);
    platform_faults_load("");
    return !fails;
}

static void sweep(const char *name, enum platform_fault kind, size_t steps, size_t at_least)
{
    size_t call = 1, refused = 0;
    for (bool more = true; more; call++) {
        begin(false);
        load(name, call);
        go_through(steps);
        more = reached(kind, call);
        refused += model.refused;
        end();
    }
    printf("%s: %zu calls, %zu requests refused\n", name, call - 2, refused);
    assert_true(call - 2 >= at_least);
}

static void test_commit(void **state)
{
    (void)state;
    sweep("commit", PLATFORM_FAULT_COMMIT, 60, 10);
}

static void test_purge(void **state)
{
    (void)state;
    sweep("purge", PLATFORM_FAULT_PURGE, 120, 10);
}

static void test_move(void **state)
{
    (void)state;
    sweep("move", PLATFORM_FAULT_MOVE, 60, 1);
}

static void test_always(void **state)
{
    (void)state;
    static const char *const all[] = {"commit=*", "purge=*", "move=*", "commit=*,purge=*,move=*,map=*"};
    for (size_t i = 0; i < 3 * sizeof all / sizeof *all; i++) {
        begin(i % 2 == 0);
        if (i >= sizeof all / sizeof *all) /* a heap that has begun already */
            go_through(100);
        platform_faults_load(all[i % (sizeof all / sizeof *all)]);
        go_through(300);
        platform_faults_load("");
        go_through(100);
        end();
    }
}

/* Sanitizers have mappings of their own, which come and go. */
static int mappings_now(void)
{
    return SANITIZED ? 0 : map_count();
}

/* A heap that cannot begin leaves nothing behind. */
static void test_new(void **state)
{
    (void)state;
    const struct heap_options options = {.reserve = 64 * MIB};
    int mappings = mappings_now();
    size_t call = 1;
    for (struct heap *heap = NULL; heap == NULL; call++) {
        load("map", call);
        heap = heap_new(&options);
        assert_int_equal(heap != NULL, !reached(PLATFORM_FAULT_MAP, call));
        heap_delete(heap);
        assert_int_equal(mappings_now(), mappings);
    }
    assert_true(call > 3);
}

/* With no size asked for, it takes what it gets. */
static void test_less_than_usual(void **state)
{
    (void)state;
    int mappings = mappings_now();
    size_t span = 0;
    for (size_t call = 2; call < 4; call++) { /* the tables, the range */
        load("map", call);
        struct heap *heap = heap_new(NULL);
        platform_faults_load("");
        assert_non_null(heap);
        assert_true(span == 0 || heap->span == span);
        span = heap->span;
        void *block = heap_alloc(heap, HEAP_OBJECTS, 100);
        assert_non_null(block);
        assert_null(heap_check(heap));
        heap_delete(heap);
        assert_int_equal(mappings_now(), mappings);
    }
    platform_faults_load("map=*");
    assert_null(heap_new(NULL));
    platform_faults_load("");
    assert_int_equal(mappings_now(), mappings);
}

#endif

static void test_without_failures(void **state)
{
    (void)state;
    begin(true);
    model.may_fail = false;
    go_through(500);
    end();
}

int main(void)
{
    random_from_environment();
    random_case(0);
    const struct CMUnitTest tests[] = {
#ifdef MIDDEN_FAULTS
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_always),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_less_than_usual),
#endif
        cmocka_unit_test(test_without_failures),
    };
    return cmocka_run_group_tests_name("heap: failures", tests, NULL, NULL);
}

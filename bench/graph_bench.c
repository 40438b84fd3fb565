/* graph_bench.c: how fast is the finder, alone, on a heap that looks like an interpreter's?
 *
 * N objects (64 bytes, allocated in an order that has nothing to do with who refers to whom), each with a
 * separate item array, somewhere else; 2.5 references per object inside the set, 2 to outside (its type, far
 * away, and a string between the objects); a tenth is garbage: cycles of 2 to 9 objects, and what hangs
 * below them. Beside it, over the same objects, a naive finder: address hash, three traversals, depth
 * first.
 *
 *   graph_bench [OBJECTS [RUNS]]        default 4,000,000 and 5
 *
 * Prints min, median and max seconds of each phase, and the whole as a ratio of the naive finder's. */
#include "../src/graph/internal.h"
#include "../src/platform/platform.h"

#include <stdio.h>
#include <stdlib.h>

struct object { /* two list links come before it: 64 bytes with them */
    uint64_t count;
    struct object *type;
    uint64_t size;
    struct object **items;
    uint64_t payload[2];
};
#define BLOCK 64u
#define HEADER 16u

static struct object *types; /* outside */
static char *heap, *items;
static size_t objects, live;
static uint32_t *place; /* logical number -> block */

static uint64_t random_state = 88172645463325252u;
static size_t random_below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)((random_state >> 32) * n >> 32);
}

/* Every third block is a string: no object of the set, but in the same pages. */
static struct object *block(size_t i)
{
    return (struct object *)(void *)(heap + i * BLOCK + HEADER);
}

static struct object *object_at(size_t logical)
{
    size_t i = place[logical];
    return block(i + i / 2);
}

static void shuffle(uint32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        numbers[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) {
        size_t j = random_below(i + 1);
        uint32_t swap = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = swap;
    }
}

static void refer(struct object *from, struct object *to)
{
    from->items[from->size++] = to;
    to->count++;
}

/* Live: a tree (one reference each) and 1.5 random references each. Garbage: rings of 2 to 9, whose
 * members hold a leaf each, and 1 or 2 references to live objects. */
static void make_references(void)
{
    for (size_t i = 0; i < live; i++) {
        struct object *object = object_at(i);
        if (i == 0)
            object->count++;
        else
            refer(object_at((i - 1) / 2), object);
        for (size_t k = 1 + i % 2; k > 0; k--)
            refer(object, object_at(random_below(live)));
    }
    for (size_t i = live; i < objects;) {
        size_t ring = 2 + random_below(8);
        if (i + 2 * ring > objects)
            ring = 0;
        for (size_t k = 0; k < ring; k++) {
            refer(object_at(i + 2 * k), object_at(i + 2 * ((k + 1) % ring)));
            refer(object_at(i + 2 * k), object_at(i + 2 * k + 1));
            refer(object_at(i + 2 * k), object_at(random_below(live)));
            refer(object_at(i + 2 * k + 1), object_at(random_below(live)));
            refer(object_at(i + 2 * k + 1), object_at(random_below(live)));
        }
        i += 2 * ring;
        if (ring == 0)
            object_at(i++)->count = 1;
    }
}

static void make_heap(void)
{
    uint32_t *item_place = malloc(objects * sizeof *item_place);
    place = malloc(objects * sizeof *place);
    heap = platform_map((objects + objects / 2 + 2) * BLOCK);
    items = platform_map(objects * 48);
    types = platform_map(100 * BLOCK);
    if (!item_place || !place || !heap || !items || !types)
        exit(1);
    shuffle(place, objects);
    shuffle(item_place, objects);
    for (size_t i = 0; i < objects; i++) {
        struct object *object = object_at(i);
        object->type = &types[random_below(100)];
        object->items = (struct object **)(void *)(items + (size_t)item_place[i] * 48);
        /* the string */
        object->items[object->size++] = block(random_below(objects / 2) * 3 + 2);
    }
    free(item_place);
    make_references();
}

/* --- the host ------------------------------------------------------------------------------------------- */

static uint64_t count(void *context, void *object)
{
    (void)context;
    return ((struct object *)object)->count;
}

static void traverse(void *context, void *object_, graph_visit *visit, void *arg)
{
    struct object *object = object_;
    (void)context;
    for (size_t i = 0; i < object->size; i++)
        visit(object->items[i], arg);
    visit(object->type, arg);
}

static void prefetch(void *context, void *object_)
{
    struct object *object = object_;
    (void)context;
    __builtin_prefetch(object->items);
}

/* --- the naive finder ----------------------------------------------------------------------------------- */

struct slot {
    struct object *object;
    uint64_t refs;
};
struct naive {
    struct slot *slots;
    size_t mask, top, garbage;
    struct slot **stack;
};

static struct slot *naive_find(struct naive *naive, const void *object)
{
    size_t i = ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15u >> 20 & naive->mask;
    while (naive->slots[i].object && naive->slots[i].object != object)
        i = (i + 1) & naive->mask;
    return &naive->slots[i];
}

static int naive_subtract(void *object, void *arg)
{
    struct slot *slot = naive_find(arg, object);
    if (slot->object)
        slot->refs--;
    return 0;
}

static int naive_reach(void *object, void *arg)
{
    struct naive *naive = arg;
    struct slot *slot = naive_find(naive, object);
    if (slot->object && !(slot->refs >> 63)) {
        slot->refs |= (uint64_t)1 << 63;
        naive->stack[naive->top++] = slot;
    }
    return 0;
}

static double seconds_since(uint64_t start)
{
    return (double)(platform_now_ns() - start) * 1e-9;
}

static double run_naive(size_t *garbage)
{
    uint64_t start = platform_now_ns();
    struct naive naive = {.mask = 1};
    while (naive.mask < objects * 2)
        naive.mask = naive.mask * 2 + 1;
    naive.slots = platform_map((naive.mask + 1) * sizeof *naive.slots);
    naive.stack = platform_map(objects * sizeof *naive.stack);
    if (!naive.slots || !naive.stack)
        exit(1);
    for (size_t i = 0; i < objects; i++) {
        struct object *object = block(i + i / 2);
        struct slot *slot = naive_find(&naive, object);
        slot->object = object;
        slot->refs = object->count;
    }
    for (size_t i = 0; i < objects; i++)
        traverse(NULL, block(i + i / 2), naive_subtract, &naive);
    for (size_t i = 0; i < objects; i++) {
        struct slot *slot = naive_find(&naive, block(i + i / 2));
        if (slot->refs && !(slot->refs >> 63))
            naive_reach(slot->object, &naive);
        while (naive.top > 0)
            traverse(NULL, naive.stack[--naive.top]->object, naive_reach, &naive);
    }
    *garbage = 0;
    for (size_t i = 0; i < objects; i++)
        *garbage += naive_find(&naive, block(i + i / 2))->refs >> 63 == 0;
    double seconds = seconds_since(start);
    platform_unmap(naive.slots, (naive.mask + 1) * sizeof *naive.slots);
    platform_unmap(naive.stack, objects * sizeof *naive.stack);
    return seconds;
}

/* --- ours ------------------------------------------------------------------------------------------- */

enum { ADD, SEAL, EXTRACT, SUBTRACT, MARK, ORDER, TOTAL, NAIVE, ROWS };
static const char *const row_names[ROWS] = {
    "add", "rank", "extract", "subtract", "mark", "order", "total", "naive finder",
};
#define RUNS_MOST 99

static void run(double seconds[ROWS], struct graph_figures *figures)
{
    static enum graph_status (*const phases[])(struct graph *) = {
        [SEAL] = rank_seal,  [EXTRACT] = graph_extract, [SUBTRACT] = graph_subtract,
        [MARK] = graph_mark, [ORDER] = graph_order,
    };
    struct graph_host host = {.count = count, .traverse = traverse, .prefetch = prefetch};
    uint64_t begin = platform_now_ns(), start = begin;
    struct graph *graph = graph_new(&host);
    for (size_t i = 0; i < objects && graph; i++)
        graph_add(graph, block(i + i / 2));
    seconds[ADD] = seconds_since(start);
    for (int row = SEAL; row <= ORDER; row++) {
        start = platform_now_ns();
        if (!graph || phases[row](graph) != GRAPH_OK)
            exit(1);
        seconds[row] = seconds_since(start);
        graph_tally(graph);
    }
    seconds[TOTAL] = seconds_since(begin);
    graph_tell(graph, figures);
    graph_free(graph);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double seconds[ROWS][RUNS_MOST];
    struct graph_figures figures = {0};
    size_t runs = argc > 2 ? strtoul(argv[2], NULL, 10) : 5, naive_garbage = 0;
    objects = argc > 1 ? strtoul(argv[1], NULL, 10) : 4000000;
    if (objects < 100 || objects > 500000000 || runs < 1 || runs > RUNS_MOST) {
        fprintf(stderr, "graph_bench [OBJECTS [RUNS]]: 100 to 500000000 objects, 1 to 99 runs\n");
        return 2;
    }
    live = objects - objects / 10;
    make_heap();
    for (size_t i = 0; i < runs; i++) {
        double row[ROWS];
        run(row, &figures);
        row[NAIVE] = run_naive(&naive_garbage);
        for (int k = 0; k < ROWS; k++)
            seconds[k][i] = row[k];
    }
    printf("%zu objects, %zu references, %zu garbage in %zu components, largest %zu\n", figures.objects,
           figures.references, figures.garbage, figures.components, figures.largest);
    printf("%-14s %9s %9s %9s   seconds, %zu runs\n", "", "min", "median", "max", runs);
    for (int k = 0; k < ROWS; k++) {
        qsort(seconds[k], runs, sizeof(double), by_value);
        printf("%-14s %9.4f %9.4f %9.4f\n", row_names[k], seconds[k][0], seconds[k][runs / 2],
               seconds[k][runs - 1]);
    }
    printf("total / naive finder, medians: %.3f; memory at most: %.1f bytes per object\n",
           seconds[TOTAL][runs / 2] / seconds[NAIVE][runs / 2],
           (double)figures.memory_bytes / (double)figures.objects);
    if (naive_garbage != figures.garbage) {
        fprintf(stderr, "graph_bench: the naive finder found %zu\n", naive_garbage);
        return 1;
    }
    return 0;
}

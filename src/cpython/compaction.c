/* compaction.c: when and how far to compact. */
#include "compaction.h"

#include "collector.h"
#include "domains.h"
#include "evacuate.h"
#include "platform/platform.h"

struct compaction_figures compaction_figures;

#define SLICE_NS 1000000u
#define LOOK_NS 1000000000u /* between two looks at what could be given back */
#define IDLE_SHARE 20u      /* idle: less than that part of a processor was used since the last look */
#define WORTH_BYTES \
    ((size_t)8 << 20) /* what could go back, at least, and as a share of what the heap holds */
#define WORTH_SHARE 8u
#define SHORT_BYTES \
    ((size_t)128 << 20) /* memory is short: less is left than that, and than a tenth of the heap */
#define SHORT_SHARE 10u

enum stage { REST, EVACUATE, PURGE };

static struct {
    enum stage stage;
    unsigned torture, turn;
    uint64_t looked_ns;
    size_t left_bytes; /* what was free and resident after the last pass: that much cannot be given back */
} pass;

/* --- slices ------------------------------------------------------------------------------------- */

static void note_longest(uint64_t *longest, uint64_t start_ns)
{
    uint64_t ns = platform_now_ns() - start_ns;
    if (ns > *longest)
        *longest = ns;
}

static void begin(void)
{
    compaction_figures.passes++;
    uint64_t start_ns = platform_now_ns();
    pass.stage = collector.enabled && evacuate_begin() != 0 ? EVACUATE : PURGE;
    note_longest(&compaction_figures.longest_evacuate_ns, start_ns);
}

/* One slice of a pass that has begun; returns the bytes that went back. */
static size_t go_on(uint64_t budget_ns)
{
    struct heap *heap = domains_heap();
    uint64_t start_ns = platform_now_ns();
    if (pass.stage == EVACUATE) {
        if (evacuate_slice(&collector.gc, budget_ns))
            pass.stage = PURGE;
        note_longest(&compaction_figures.longest_evacuate_ns, start_ns);
        return 0;
    }
    bool done = true;
    size_t given = heap_purge(heap, budget_ns, &done);
    note_longest(&compaction_figures.longest_purge_ns, start_ns);
    if (done) {
        struct heap_figures figures;
        heap_tell(heap, &figures);
        pass.left_bytes = figures.free_bytes;
        pass.stage = REST;
    }
    return given;
}

static void abandon(void)
{
    if (pass.stage == EVACUATE)
        evacuate_abandon();
    pass.stage = REST;
}

size_t compaction_now(void)
{
    struct heap *heap = domains_heap();
    size_t before = platform_resident_bytes(), given = 0;
    if (heap != NULL) {
        abandon();
        begin();
        while (pass.stage != REST)
            given += go_on(UINT64_MAX);
    }
    size_t between = platform_resident_bytes();
    (void)platform_trim_malloc();
    size_t after = platform_resident_bytes();
    size_t trimmed = between > after ? between - after : 0;
    /* The system's own books, where they show more: moving buffers touches pages as well. */
    size_t seen = before > after ? before - after : 0;
    return given + trimmed > seen ? given + trimmed : seen;
}

/* --- the keeper --------------------------------------------------------------------------------- */

static struct {
    struct platform_thread thread;
    bool running;
    _Atomic uint32_t bell;
    atomic_bool stop, over;
    atomic_bool mend;     /* huge pages want to be made whole */
    atomic_bool compacts; /* the heap wants to be compacted when the program is idle */
} keeper;

static bool may_work(void)
{
    return domains_heap() != NULL && !(collector.enabled && gcstate_collecting(&collector.gc)) &&
           collector.flight != FLIGHT_SEARCHING;
}

/* A whole pass, a slice at a time, as long as the keeper is wanted. */
static void keep(void)
{
    bool more = true;
    for (bool first = true; more && !keeper.stop; first = false) {
        PyGILState_STATE state = PyGILState_Ensure();
        if (may_work()) {
            if (first)
                compaction_figures.idle_passes++;
            if (pass.stage == REST)
                begin();
            (void)go_on(SLICE_NS);
        }
        more = pass.stage != REST;
        PyGILState_Release(state);
    }
    if (!keeper.stop)
        (void)platform_trim_malloc();
    keeper.compacts = false;
}

static void mend(void)
{
    uint32_t next = 0;
    while (keeper.mend && !keeper.stop && heap_mend(domains_heap(), &next))
        ;
    keeper.mend = false;
}

static void run(void *unused)
{
    (void)unused;
    mend();
    uint64_t used_ns = platform_cpu_ns();
    while (!keeper.stop && keeper.compacts) {
        platform_wait(&keeper.bell, 0, LOOK_NS);
        uint64_t now_ns = platform_cpu_ns();
        if (!keeper.stop && now_ns - used_ns < LOOK_NS / IDLE_SHARE) {
            keep();
            break;
        }
        mend();
        used_ns = now_ns;
    }
    keeper.over = true;
}

void compaction_stop(void)
{
    if (!keeper.running)
        return;
    keeper.stop = true;
    keeper.bell = 1;
    platform_wake(&keeper.bell);
    Py_BEGIN_ALLOW_THREADS platform_thread_join(&keeper.thread);
    Py_END_ALLOW_THREADS keeper.running = false;
    abandon();
}

void compaction_forget(void)
{
    keeper.running = false;
    abandon();
}

static void start_keeper(void)
{
    if (keeper.running && keeper.over) {
        platform_thread_join(&keeper.thread);
        keeper.running = false;
    }
    if (keeper.running) {
        platform_wake(&keeper.bell); /* it looks again */
        return;
    }
    keeper.stop = keeper.over = false;
    keeper.bell = 0;
    keeper.running = platform_thread_start(&keeper.thread, run, NULL) == 0;
}

void compaction_mend(void)
{
    struct heap *heap = domains_heap();
    if (heap == NULL || !heap_has_huge(heap))
        return;
    keeper.mend = true;
    start_keeper();
}

void compaction_mend_no_more(void)
{
    keeper.mend = false;
}

/* --- ticks -------------------------------------------------------------------------------------- */

static void look(void)
{
    struct heap_figures figures;
    heap_tell(domains_heap(), &figures);
    size_t spare = figures.free_bytes > pass.left_bytes ? figures.free_bytes - pass.left_bytes : 0;
    if (spare < WORTH_BYTES || spare < figures.resident_bytes / WORTH_SHARE)
        return;
    size_t available = platform_available_bytes();
    if (available < SHORT_BYTES && available < figures.resident_bytes / SHORT_SHARE) {
        if (pass.stage == REST)
            begin();
    } else {
        keeper.compacts = true;
        start_keeper();
    }
}

void compaction_tick(uint64_t now_ns)
{
    if (domains_heap() == NULL)
        return;
    heap_tick(domains_heap(), now_ns);
    if (pass.torture != 0) {
        if (++pass.turn % pass.torture == 0) {
            (void)compaction_now();
            const char *wrong = heap_check(domains_heap());
            if (wrong != NULL)
                Py_FatalError(wrong);
        }
        return;
    }
    if (pass.stage != REST)
        (void)go_on(SLICE_NS);
    else if (now_ns - pass.looked_ns >= LOOK_NS) {
        pass.looked_ns = now_ns;
        look();
    }
}

void compaction_torture(unsigned every)
{
    pass.torture = every;
}

/* idle.c: things go on when the program allocates nothing, and so runs no young collection.
 *
 * A small thread lives as long as a flight. It holds no GIL and touches no Python object; it waits for the
 * clone's bell, looks whether CPython collected meanwhile, and if not asks the main thread for a pending
 * call, which does one slice in a gc.collect(0). It is gone before the program forks (CPython warns
 * about a fork with threads), and its end tells the clone that the program exec'd (snapshot.h). */
#include "collector.h"

#include "platform/platform.h"

#define LOOK_NS 5000000u           /* reclaiming: no tick in this time is idle */
#define LONGEST_LOOK_NS 250000000u /* nothing moves (gc disabled, main thread asleep) */
#define SEARCH_LOOK_NS 50000000u

static struct helper {
    struct platform_thread thread;
    bool running;                   /* the program's side */
    struct snapshot_answer *answer; /* NULL: the candidates were found in place */
    uint64_t deadline_ns;
    _Atomic uint32_t bell; /* when there is no answer */
    atomic_bool stop;
} helper;

static atomic_bool asked; /* a pending call is under way */

/* --- on the main thread, with the GIL ----------------------------------------------------------- */

static int step(void *unused)
{
    (void)unused;
    struct collector *c = &collector;
    asked = false;
    lifecycle_check_process();
    if (!c->enabled || c->flight == FLIGHT_NONE)
        return 0;
    collector_look();
    if (c->flight != FLIGHT_RECLAIMING || !lifecycle_automatic() || gcstate_collecting(&c->gc))
        return 0;
    PyObject *collected = ticks_install() ? PyObject_CallFunction(request_host_collect(), "i", 0) : NULL;
    if (collected == NULL)
        PyErr_WriteUnraisable(request_host_collect());
    Py_XDECREF(collected);
    return 0;
}

/* --- the thread --------------------------------------------------------------------------------- */

static bool answered(void)
{
    return helper.answer == NULL ||
           atomic_load_explicit(&helper.answer->stage, memory_order_acquire) == SNAPSHOT_STAGE_DONE;
}

static void keep_going(void)
{
    _Atomic uint32_t *bell = helper.answer != NULL ? &helper.answer->bell : &helper.bell;
    uint64_t look_ns = LOOK_NS, seen = ticks_count();
    for (;;) {
        uint32_t rung = *bell;
        if (helper.stop)
            return;
        bool over = answered() || platform_now_ns() > helper.deadline_ns;
        platform_wait(bell, rung, over ? look_ns : SEARCH_LOOK_NS);
        if (!over || helper.stop)
            continue;
        uint64_t now = ticks_count();
        if (now == seen && !asked) {
            asked = true;
            if (Py_AddPendingCall(step, NULL) != 0)
                asked = false; /* the queue is full: later */
            look_ns = LOOK_NS;
        } else if (now == seen && look_ns < LONGEST_LOOK_NS) {
            look_ns *= 2; /* asked, and not yet heard */
        }
        seen = now;
    }
}

static void run(void *unused)
{
    (void)unused;
    if (helper.answer != NULL)
        snapshot_watch(helper.answer, &helper.thread);
    keep_going();
    if (helper.answer != NULL)
        snapshot_watch(helper.answer, NULL); /* a proper end, and no exec */
}

/* --- the program's side ------------------------------------------------------------------------- */

void idle_start(void)
{
    if (helper.running) /* a flight that began between the hooks of a fork */
        return;
    struct snapshot *snapshot = &collector.snapshot;
    bool searching = snapshot->state != SNAPSHOT_IDLE;
    helper.answer = searching ? snapshot->answer : NULL;
    helper.deadline_ns = searching ? snapshot->deadline_ns : 0;
    helper.stop = false;
    /* Refused: then it needs young collections to go on, which is what a busy program has. */
    helper.running = platform_thread_start(&helper.thread, run, NULL) == 0;
}

void idle_stop(void)
{
    if (!helper.running)
        return;
    helper.stop = true;
    if (helper.answer != NULL) {
        snapshot_ring(helper.answer);
    } else {
        helper.bell++;
        platform_wake(&helper.bell);
    }
    platform_thread_join(&helper.thread);
    helper.running = false;
}

void idle_forget(void)
{
    helper.running = false;
    asked = false;
}

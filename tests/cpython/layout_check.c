/* layout_check.c: the mirror in compat.h against the internal headers of the CPython that is built against.
 *
 * Compiles or does not: every statement is a static assertion. The run-time check (gcstate.c, verify) is the one
 * that programs rely on; this one tells a developer at once which field moved in a new version. */
#define Py_BUILD_CORE 1
#include "cpython/compat.h"

#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"

#include <stddef.h>

/* Where the mirror of what follows the generations begins. */
#define AFTER \
    ((offsetof(struct _gc_runtime_state, generations) + 3 * sizeof(struct gc_generation) + 7) & ~(size_t)7)
#define SAME_AS(field, mirrored)                                           \
    _Static_assert(offsetof(struct _gc_runtime_state, field) ==            \
                       AFTER + offsetof(struct gc_state_mirror, mirrored), \
                   "struct gc_state_mirror." #mirrored " is not where CPython has it")
#define SAME(field) SAME_AS(field, field)

SAME(generation0);
SAME(generation_stats);
SAME(collecting);
SAME(garbage);
SAME(callbacks);
SAME(long_lived_total);
SAME(long_lived_pending);
SAME_AS(permanent_generation, permanent);
_Static_assert(sizeof(struct gc_generation) == sizeof(struct gc_generation_mirror),
               "struct gc_generation differs");
_Static_assert(sizeof(PyGC_Head) == sizeof(struct gc_links), "PyGC_Head differs");
_Static_assert((uintptr_t)(~_PyGC_PREV_MASK) == GC_FLAGS, "the flag bits of PyGC_Head differ");

int main(void)
{
    return 0;
}

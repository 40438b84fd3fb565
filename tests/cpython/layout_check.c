/* layout_check.c: the mirror in compat.h against the internal headers of the CPython that is built against.
 *
 * Compiles or does not: every statement is a static assertion. The run-time check (gcstate.c, verify) is the one
 * that programs rely on; this one tells a developer at once which field moved in a new version. */
#define Py_BUILD_CORE 1
#include "cpython/compat.h"

#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
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

#define SAME_IN(structure, field, mirror, mirrored)                                        \
    _Static_assert(offsetof(structure, field) == offsetof(mirror, mirrored) &&             \
                       sizeof(((structure *)0)->field) == sizeof(((mirror *)0)->mirrored), \
                   #mirror "." #mirrored " is not what CPython has")

#define SAME_KEYS(field, mirrored) SAME_IN(struct _dictkeysobject, field, struct dict_keys_mirror, mirrored)
SAME_KEYS(dk_refcnt, refcount);
SAME_KEYS(dk_log2_size, log2_size);
SAME_KEYS(dk_log2_index_bytes, log2_index_bytes);
SAME_KEYS(dk_kind, kind);
SAME_KEYS(dk_version, version);
SAME_KEYS(dk_usable, usable);
SAME_KEYS(dk_nentries, entries);
_Static_assert(offsetof(struct _dictkeysobject, dk_indices) == sizeof(struct dict_keys_mirror),
               "the indices of a dict's table do not follow what is mirrored");
_Static_assert((int)DICT_KEYS_SPLIT == DICT_KEYS_MIRROR_SPLIT && DICT_KEYS_GENERAL < DICT_KEYS_SPLIT &&
                   DICT_KEYS_UNICODE < DICT_KEYS_SPLIT,
               "the kinds of dict tables differ");

#if PY_VERSION_HEX < 0x030D0000
_Static_assert(offsetof(struct _dictvalues, values) == 0, "the values of a dict begin with something else");
#else
#define SAME_VALUES(field) SAME_IN(struct _dictvalues, field, struct dict_values_mirror, field)
SAME_VALUES(capacity);
SAME_VALUES(size);
SAME_VALUES(embedded);
SAME_VALUES(valid);
SAME_VALUES(values);

#define SAME_FRAME(field, mirrored) SAME_IN(struct _PyInterpreterFrame, field, struct frame_mirror, mirrored)
SAME_FRAME(previous, previous);
SAME_FRAME(f_globals, globals);
SAME_FRAME(owner, owner);
#if PY_VERSION_HEX < 0x030E0000
_Static_assert((int)FRAME_OWNED_BY_CSTACK == FRAME_MIRROR_ENTRY, "the owners of frames differ");
#else
_Static_assert((int)FRAME_OWNED_BY_INTERPRETER == FRAME_MIRROR_ENTRY, "the owners of frames differ");
#endif
#endif

int main(void)
{
    return 0;
}

/* compat.h: everything in which the supported versions of CPython differ, and nothing else.
 *
 * Only this file may test PY_VERSION_HEX. What it mirrors of CPython's internals (the list links before
 * an object, the collector's state) is never trusted: gcstate.c finds it from an object that was just
 * made and compares every field that Python code can see, and tests/cpython/layout_check.c compares
 * it with the internal headers of the version that it is built against.
 *
 * Sources: Include/internal/pycore_gc.h (3.11-3.13), pycore_interp_structs.h (3.14, 3.15). */
#ifndef MIDDEN_CPYTHON_COMPAT_H
#define MIDDEN_CPYTHON_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#define COMPAT_REASON "this is not CPython 3.11 to 3.15"
#elif defined(Py_GIL_DISABLED)
#define COMPAT_REASON "this is a free-threaded build"
#elif defined(Py_DEBUG)
#define COMPAT_REASON "this is a debug build"
#elif SIZEOF_VOID_P != 8
#define COMPAT_REASON "this is not a 64-bit build"
#else
#define COMPAT_REASON NULL
#endif

/* The first version of the running minor whose collector has these lists (3.14.0 to 3.14.4 had another). */
#if PY_VERSION_HEX >= 0x030E0000 && PY_VERSION_HEX < 0x030F0000
#define COMPAT_FIRST_VERSION 0x030E0500
#else
#define COMPAT_FIRST_VERSION 0x030B0000
#endif

/* Whether the interpreter that runs is of the minor version that this was built for. */
static inline bool compat_same_version(void)
{
    return (Py_Version ^ (unsigned long)PY_VERSION_HEX) >> 16 == 0;
}

/* --- the collector's state ---------------------------------------------------------------------- */

/* Before every object that the collector may track: PyGC_Head. next == 0: not tracked. The two low
 * bits of prev are flags (finalized, collecting) and stay as they are. Late versions of 3.13 align list heads
 * to 4 bytes only. */
struct __attribute__((packed, aligned(4))) gc_links {
    uintptr_t next, prev;
};
#define GC_FLAGS ((uintptr_t)3)

struct gc_generation_mirror {
    struct gc_links head;
    int threshold, count;
};

/* What follows `generations` in struct _gc_runtime_state, at the next multiple of 8. */
struct gc_state_mirror {
#if PY_VERSION_HEX < 0x030E0000
    struct gc_links *generation0;
#endif
    struct gc_generation_mirror permanent;
#if PY_VERSION_HEX < 0x030F0000
    Py_ssize_t generation_stats[3][3];
#else
    void *generation_stats;
#endif
    int collecting;
#if PY_VERSION_HEX >= 0x030F0000
    void *frame;
#endif
    PyObject *garbage;
    PyObject *callbacks;
#if PY_VERSION_HEX >= 0x030E0000
    Py_ssize_t heap_size;
#if PY_VERSION_HEX < 0x030F0000
    Py_ssize_t dummy1;
    int dummy2, dummy3;
#endif
#endif
    Py_ssize_t long_lived_total;
    Py_ssize_t long_lived_pending;
#if PY_VERSION_HEX >= 0x030E0000
    struct gc_links *generation0;
#endif
};

/* pre: generations points at three generations. */
static inline struct gc_state_mirror *gc_state_after(struct gc_generation_mirror *generations)
{
    return (struct gc_state_mirror *)(((uintptr_t)(generations + 3) + 7) & ~(uintptr_t)7);
}

static inline struct gc_links *gc_links_of(void *object)
{
    return (struct gc_links *)object - 1;
}

static inline PyObject *gc_object_of(struct gc_links *links)
{
    return (PyObject *)(links + 1);
}

/* --- objects ------------------------------------------------------------------------------------ */

/* Counts from here on belong to immortal objects (3.12+), or to ones that we do not reason about. */
#define COMPAT_COUNT_LIMIT ((uint64_t)1 << 30)

/* The count's low 32 bits are the count from 3.14 on; before, the whole word. Negative: immortal. */
static inline uint64_t compat_count(PyObject *object)
{
    return (uint64_t)(Py_ssize_t)Py_REFCNT(object);
}

/* Whether the type keeps two pointers (dict or values, weak references) before the list links. */
static inline bool compat_has_preheader(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030C0000
    return (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0;
#else
    return (type->tp_flags & (Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF)) != 0;
#endif
}

/* Prefetch what tp_traverse will read behind the object itself. The type has been read before. */
static inline void compat_prefetch(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (PyType_FastSubclass(type, Py_TPFLAGS_LIST_SUBCLASS)) {
        __builtin_prefetch(((PyListObject *)object)->ob_item);
    } else if (PyType_FastSubclass(type, Py_TPFLAGS_DICT_SUBCLASS)) {
        PyDictObject *dict = (PyDictObject *)object;
        char *keys = (char *)dict->ma_keys;
        __builtin_prefetch(keys);
        __builtin_prefetch(keys + 64); /* small tables: the entries */
        __builtin_prefetch(dict->ma_values);
    } else if ((type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0) {
        uintptr_t *words = (uintptr_t *)object;
#if PY_VERSION_HEX < 0x030C0000
        __builtin_prefetch((void *)words[-4]); /* values */
        __builtin_prefetch((void *)words[-3]); /* dict */
#else
        __builtin_prefetch((void *)(words[-3] & ~(uintptr_t)1)); /* values (3.12: tagged) or dict */
#endif
    }
}

static inline bool compat_finalizing(void)
{
#if PY_VERSION_HEX < 0x030D0000
    return _Py_IsFinalizing() != 0;
#else
    return Py_IsFinalizing() != 0;
#endif
}

/* --- buffers that one object owns --------------------------------------------------------------- */

/* How the table of a dict begins: PyDictKeysObject (pycore_dict.h). */
struct dict_keys_mirror {
    Py_ssize_t refcount;
    uint8_t log2_size, log2_index_bytes, kind;
    uint32_t version;
    Py_ssize_t usable, entries;
};
#define DICT_KEYS_MIRROR_SPLIT 2 /* the kind of tables that others may share */

#if PY_VERSION_HEX >= 0x030D0000
/* How the values of a split dict, or of an instance, begin: struct _dictvalues. */
struct dict_values_mirror {
    uint8_t capacity, size, embedded, valid;
    PyObject *values[1];
};
#endif

/* The block that values begin in; NULL: they are part of the instance. Before 3.13 the block begins with the
 * order of insertion, backwards, and the byte before the values tells its length. */
static inline void *compat_values_block(void *values)
{
#if PY_VERSION_HEX < 0x030D0000
    return (char *)values - ((uint8_t *)values)[-1];
#else
    return ((struct dict_values_mirror *)values)->embedded ? NULL : values;
#endif
}

/* Whether values that were just made, and got one attribute, have this one. Before 3.14 it is the first. */
static inline bool compat_has_value(void *values, PyObject *value)
{
#if PY_VERSION_HEX < 0x030D0000
    return *(PyObject **)values == value;
#else
    const struct dict_values_mirror *mirror = values;
    unsigned i = 0;
    while (i < mirror->capacity && i < 64 && mirror->values[i] != value)
        i++;
    return mirror->size == 1 && i < mirror->capacity && i < 64 && mirror->values[i] == value;
#endif
}

/* The values that an instance keeps in a block of their own: up to 3.12, as long as nobody asked for its
 * dict. pre: its type has Py_TPFLAGS_MANAGED_DICT. */
static inline void *compat_instance_values(PyObject *instance)
{
#if PY_VERSION_HEX < 0x030C0000
    return ((void **)instance)[-4];
#elif PY_VERSION_HEX < 0x030D0000
    uintptr_t word = ((uintptr_t *)instance)[-3]; /* the dict, or the values less 1 */
    return (word & 1) != 0 ? (void *)(word + 1) : NULL;
#else
    (void)instance;
    return NULL;
#endif
}

/* pre: it has such values. */
static inline void compat_set_instance_values(PyObject *instance, void *values)
{
#if PY_VERSION_HEX < 0x030C0000
    ((void **)instance)[-4] = values;
#elif PY_VERSION_HEX < 0x030D0000
    ((uintptr_t *)instance)[-3] = (uintptr_t)values - 1;
#else
    (void)instance, (void)values;
#endif
}

/* Whether a bytearray's memory is a block of its own, and not a bytes object. */
#define COMPAT_BYTEARRAY_OWNS (PY_VERSION_HEX < 0x030F0000)

/* --- the native stack ----------------------------------------------------------------------------- */

#if PY_VERSION_HEX >= 0x030D0000
/* struct _PyInterpreterFrame (pycore_frame.h, pycore_interpframe_structs.h), up to its owner. */
struct frame_mirror {
    uintptr_t executable;
    struct frame_mirror *previous;
    uintptr_t function;
    PyObject *globals, *builtins, *locals;
    void *object, *instruction;
#if PY_VERSION_HEX < 0x030E0000
    int stack_top;
#else
    void *stack_pointer;
#endif
    uint16_t return_offset;
    char owner;
};
#define FRAME_MIRROR_ENTRY 3 /* from this owner on: not Python code's, but an evaluation loop's own */
#endif

/* A place in the native stack frame of a thread's newest evaluation loop, then of the next older one, and so
 * on; 0: there is none. *loop is NULL at first. pre: the GIL. */
static inline uintptr_t compat_next_loop(PyThreadState *thread, void **loop)
{
#if PY_VERSION_HEX < 0x030D0000
    _PyCFrame *frame = *loop == NULL ? thread->cframe : ((_PyCFrame *)*loop)->previous;
    *loop = frame;
    return frame == &thread->root_cframe ? 0 : (uintptr_t)frame;
#else
    struct frame_mirror *frame = *loop == NULL ? (struct frame_mirror *)thread->current_frame
                                               : ((struct frame_mirror *)*loop)->previous;
    while (frame != NULL && frame->owner < FRAME_MIRROR_ENTRY)
        frame = frame->previous;
#if PY_VERSION_HEX >= 0x030F0000
    if (frame != NULL && frame->previous == NULL)
        frame = NULL; /* the oldest one is part of the thread's state */
#endif
    *loop = frame;
    return (uintptr_t)frame;
#endif
}

/* Whether what compat_next_loop reads is what CPython has: the globals of a running frame say so. False: it
 * is not, or no thread runs any. Costs a frame object. */
static inline bool compat_knows_frames(PyInterpreterState *interpreter)
{
#if PY_VERSION_HEX < 0x030D0000
    (void)interpreter;
    return true; /* it reads public structures only */
#else
    bool same = false;
    for (PyThreadState *thread = PyInterpreterState_ThreadHead(interpreter); thread != NULL && !same;
         thread = PyThreadState_Next(thread)) {
        PyFrameObject *object = PyThreadState_GetFrame(thread);
        if (object == NULL)
            continue;
        struct frame_mirror *frame = (struct frame_mirror *)thread->current_frame;
        while (frame != NULL && frame->owner >= FRAME_MIRROR_ENTRY)
            frame = frame->previous;
        PyObject *globals = PyFrame_GetGlobals(object);
        same = frame != NULL && frame->globals == globals;
        Py_XDECREF(globals);
        Py_DECREF(object);
        if (!same)
            break;
    }
    return same;
#endif
}

/* --- threads and interpreters ------------------------------------------------------------------- */

/* Whether the calling thread runs the given interpreter; NULL is nobody's. Cheap; needs no GIL. */
static inline bool compat_runs(PyInterpreterState *interpreter)
{
#if PY_VERSION_HEX < 0x030C0000
    return interpreter != NULL; /* one GIL for all: who frees, holds it */
#elif PY_VERSION_HEX < 0x030D0000
    PyThreadState *thread = _PyThreadState_UncheckedGet();
    return thread != NULL && thread->interp == interpreter;
#else
    PyThreadState *thread = PyThreadState_GetUnchecked();
    return thread != NULL && thread->interp == interpreter;
#endif
}

/* Whether the calling thread holds that interpreter's GIL, given that it holds one. */
static inline bool compat_holds(PyInterpreterState *interpreter)
{
#if PY_VERSION_HEX < 0x030C0000
    (void)interpreter;
    return true;
#else
    return compat_runs(interpreter);
#endif
}

#endif

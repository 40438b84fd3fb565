/* evacuate.c: finding the owners of buffers that are to move, and moving those.
 *
 * A pass goes along the collector's oldest list, with a marker of its own where the next slice begins, and
 * looks at what each object refers to. Owners are not looked for directly: one that only C code knows, such
 * as the list that a sequence is unpacked into, may be written to without anybody asking where its buffer
 * is. */
#include "evacuate.h"

#include "domains.h"
#include "platform/platform.h"
#include "stacks.h"

struct evacuate_figures evacuate_figures;

#define LOOK_EVERY 64u            /* objects between two looks at the clock */
#define AT_ONCE 4096u             /* referents of one object between them */
#define CARRY ((size_t)256 << 10) /* bytes moved between them: some 50 us */
#define FULLS 3u                  /* full collections reorder the list: a pass does not go on for ever */

static struct {
    PyObject *marker;   /* before the object that is next; NULL: no pass is under way */
    bool placed;        /* the marker is in the oldest list */
    const void *partly; /* that object's address, if an earlier slice got so far with it: */
    size_t done;
    uintptr_t frozen; /* gcstate_frozen, and gcstate_pending, when the marker was put */
    Py_ssize_t pending;
    unsigned fulls;
    size_t carried; /* since the last look at the clock */
} pass;

/* --- what this interpreter is like ---------------------------------------------------------------- */

static struct {
    bool looked, dicts, values, frames;
    traverseproc python_class; /* that of every class made by Python code */
    traverseproc containers[8];
} host;

static PyObject *attribute_of(const char *module, const char *name)
{
    PyObject *text = PyUnicode_FromString(module);
    PyObject *found = text != NULL ? PyImport_GetModule(text) : NULL; /* never imports */
    PyObject *attribute = found != NULL ? PyObject_GetAttrString(found, name) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(found);
    return attribute;
}

/* A dict's table, as we think it is, against one that is known. */
static bool knows_tables(void)
{
    PyObject *dict = PyDict_New();
    bool same = dict != NULL && PyDict_SetItemString(dict, "a", Py_None) == 0;
    if (same) {
        const struct dict_keys_mirror *keys = (void *)((PyDictObject *)dict)->ma_keys;
        same = keys->refcount == 1 && keys->log2_size == 3 && keys->log2_index_bytes == 3 &&
               keys->kind < DICT_KEYS_MIRROR_SPLIT && keys->entries == 1 && keys->usable + keys->entries == 5;
    }
    Py_XDECREF(dict);
    return same;
}

/* The values of an instance that was just made, and of the dict that takes them over. pre: "name" is the
 * attribute that all instances of the class get first. */
static bool knows_values(PyTypeObject *class)
{
    PyObject *name = PyUnicode_FromString("midden"), *none = PyTuple_New(0), *instance = NULL, *dict = NULL;
    if (name != NULL && none != NULL && PyType_HasFeature(class, Py_TPFLAGS_MANAGED_DICT))
        instance = PyBaseObject_Type.tp_new(class, none, NULL);
    bool same = instance != NULL && PyObject_SetAttrString(instance, "name", name) == 0;
    void *own = same ? compat_instance_values(instance) : NULL;
    if (own != NULL)
        same = compat_has_value(own, name) && (char *)compat_values_block(own) < (char *)own;
    if (same && (dict = PyObject_GenericGetDict(instance, NULL)) != NULL) {
        void *values = ((PyDictObject *)dict)->ma_values;
        same = values != NULL && compat_has_value(values, name);
        if (own != NULL)
            same = same && values == own && compat_instance_values(instance) == NULL;
        else
            same = same && compat_values_block(values) == NULL;
    }
    same = same && dict != NULL;
    Py_XDECREF(dict);
    Py_XDECREF(instance);
    Py_XDECREF(none);
    Py_XDECREF(name);
    return same;
}

static bool jit_enabled(void)
{
    PyObject *jit = PySys_GetObject("_jit"); /* 3.14+; borrowed */
    PyObject *enabled = jit != NULL ? PyObject_CallMethod(jit, "is_enabled", NULL) : NULL;
    bool is = jit != NULL && enabled != Py_False;
    Py_XDECREF(enabled);
    return is;
}

static void look_at_host(void)
{
    size_t count = 0;
    const PyTypeObject *own[] = {&PyList_Type, &PyDict_Type, &PyTuple_Type,
                                 &PySet_Type,  &PyCell_Type, &PyODict_Type};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        host.containers[count++] = own[i]->tp_traverse;
    const char *others[][2] = {{"_collections", "deque"}, {"_collections", "defaultdict"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        PyObject *type = attribute_of(others[i][0], others[i][1]);
        if (type != NULL && PyType_Check(type))
            host.containers[count++] = ((PyTypeObject *)type)->tp_traverse;
        Py_XDECREF(type);
    }
    /* A class of Python code that is always there. */
    PyObject *class = attribute_of("_frozen_importlib", "ModuleSpec");
    host.dicts = !jit_enabled() && knows_tables();
    if (class != NULL && PyType_Check(class)) {
        host.python_class = ((PyTypeObject *)class)->tp_traverse;
        host.values = host.dicts && knows_values((PyTypeObject *)class);
    }
    Py_XDECREF(class);
    host.looked = true;
}

/* Whether an object is a container that Python code knows as such, or an instance of a class of Python code:
 * no C code of an extension is behind it, which may have kept the address of a buffer because it alone
 * refers to its owner. */
static bool plain_container(PyObject *object)
{
    const PyTypeObject *type = Py_TYPE(object);
    while (host.python_class != NULL && type->tp_traverse == host.python_class && type->tp_base != NULL)
        type = type->tp_base;
    if (type->tp_traverse == NULL)
        return true; /* object */
    for (size_t i = 0; i < sizeof host.containers / sizeof host.containers[0]; i++)
        if (type->tp_traverse == host.containers[i])
            return true;
    return false;
}

/* --- one owner ---------------------------------------------------------------------------------- */

enum kind { NOTHING, LIST, TABLE, VALUES, SET, BYTEARRAY, INSTANCE };

struct buffer {
    enum kind kind;
    void *block;
    size_t bytes; /* that are used of it, at least */
};

static struct buffer dict_buffer(PyDictObject *dict)
{
    if (dict->ma_values != NULL) {
        void *block = host.values ? compat_values_block(dict->ma_values) : NULL;
        return (struct buffer){VALUES, block, sizeof(void *)};
    }
    const struct dict_keys_mirror *keys = (void *)dict->ma_keys;
    if (!host.dicts || keys == NULL || keys->refcount != 1 || keys->kind >= DICT_KEYS_MIRROR_SPLIT)
        return (struct buffer){NOTHING, NULL, 0}; /* shared, or one of CPython's own */
    return (struct buffer){TABLE, dict->ma_keys, sizeof *keys + ((size_t)1 << keys->log2_index_bytes)};
}

/* What an object owns; block is NULL: nothing that could move. */
static struct buffer buffer_of(PyObject *owner)
{
    PyTypeObject *type = Py_TYPE(owner);
    if (type == &PyList_Type) {
        PyListObject *list = (PyListObject *)owner;
        if (list->allocated > 0 && Py_SIZE(list) <= list->allocated)
            return (struct buffer){LIST, list->ob_item, (size_t)list->allocated * sizeof *list->ob_item};
    } else if (type == &PyDict_Type) {
        return dict_buffer((PyDictObject *)owner);
    } else if (type == &PySet_Type) {
        PySetObject *set = (PySetObject *)owner;
        if (set->table != set->smalltable)
            return (struct buffer){SET, set->table, ((size_t)set->mask + 1) * sizeof *set->table};
    } else if (type == &PyByteArray_Type) {
        PyByteArrayObject *array = (PyByteArrayObject *)owner;
        if (COMPAT_BYTEARRAY_OWNS && array->ob_exports == 0 && array->ob_alloc > 0)
            return (struct buffer){BYTEARRAY, array->ob_bytes, (size_t)array->ob_alloc};
    } else if (host.values && (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) != 0) {
        void *values = compat_instance_values(owner);
        if (values != NULL)
            return (struct buffer){INSTANCE, compat_values_block(values), sizeof(void *)};
    }
    return (struct buffer){NOTHING, NULL, 0};
}

/* The owner's buffer is now there. */
static void adopt(PyObject *owner, const struct buffer *old, char *block)
{
    ptrdiff_t distance = block - (char *)old->block;
    switch (old->kind) {
    case NOTHING: break;
    case LIST: ((PyListObject *)owner)->ob_item = (PyObject **)block; break;
    case TABLE: ((PyDictObject *)owner)->ma_keys = (void *)block; break;
    case SET: ((PySetObject *)owner)->table = (setentry *)block; break;
    case VALUES: {
        PyDictObject *dict = (PyDictObject *)owner;
        dict->ma_values = (void *)((char *)dict->ma_values + distance);
        break;
    }
    case BYTEARRAY:
        ((PyByteArrayObject *)owner)->ob_bytes = block;
        ((PyByteArrayObject *)owner)->ob_start += distance;
        break;
    case INSTANCE: compat_set_instance_values(owner, (char *)compat_instance_values(owner) + distance); break;
    }
}

static bool wants_move(const struct heap *heap, PyObject *owner, struct buffer *buffer)
{
    *buffer = buffer_of(owner);
    return buffer->block != NULL && heap_wants_move(heap, buffer->block);
}

/* Whether a block begins there that is large enough; if not, we have mistaken something. */
static bool is_block(const struct heap *heap, const struct buffer *buffer)
{
    const struct heap_slab *slab = heap_slab_of(heap, buffer->block);
    return ((uintptr_t)buffer->block & (HEAP_UNIT - 1)) % slab->slot_bytes == 0 &&
           buffer->bytes <= slab->slot_bytes;
}

/* Move the buffer of an object that `by` refers to, if it has one that wants to and may. */
static void move(struct heap *heap, PyObject *owner, bool by_plain_container)
{
    struct buffer buffer;
    if (!wants_move(heap, owner, &buffer) || Py_REFCNT(owner) <= 0 || !is_block(heap, &buffer))
        return;
    bool bare = buffer.kind == LIST || buffer.kind == BYTEARRAY;
    if (bare && (!by_plain_container || Py_REFCNT(owner) != 1)) {
        evacuate_figures.shared++;
        return;
    }
    if (stacks_hold(buffer.block, heap_block_bytes(heap, buffer.block))) {
        evacuate_figures.held++;
        return;
    }
    void *block = heap_move(heap, buffer.block);
    if (block == NULL)
        return;
    adopt(owner, &buffer, block);
    pass.carried += heap_block_bytes(heap, block);
}

/* --- what one object refers to -------------------------------------------------------------------- */

/* Referents to be dealt with when tp_traverse has returned: the object itself may be among them. */
static struct {
    const struct heap *heap;
    size_t skip, seen, count, bytes;
    PyObject *owners[AT_ONCE];
} found;

static bool found_enough(void)
{
    return found.count == AT_ONCE || found.bytes >= CARRY;
}

static int note(PyObject *referent, void *unused)
{
    struct buffer buffer;
    (void)unused;
    if (found_enough())
        return 1;
    if (found.seen++ >= found.skip && wants_move(found.heap, referent, &buffer)) {
        found.owners[found.count++] = referent;
        found.bytes += heap_block_bytes(found.heap, buffer.block);
    }
    return found_enough();
}

/* Deal with some of an object's referents, the first `done` of which have been; returns whether that was
 * all. */
static bool look_at(struct heap *heap, PyObject *object, size_t *done)
{
    size_t end = *done + AT_ONCE;
    if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) {
        /* The object itself may move as well: nothing about it is kept from one step to the next. */
        for (; *done < end && pass.carried < CARRY; ++*done) {
            if (*done >= (size_t)Py_SIZE(object))
                return true;
            PyObject **items = PyList_CheckExact(object) ? ((PyListObject *)object)->ob_item
                                                         : ((PyTupleObject *)object)->ob_item;
            if (items[*done] != NULL)
                move(heap, items[*done], true);
        }
        return false;
    }
    if (PyDict_CheckExact(object)) {
        PyObject *key, *value;
        Py_ssize_t at = (Py_ssize_t)*done;
        while (PyDict_Next(object, &at, &key, &value)) {
            move(heap, key, true);
            move(heap, value, true);
            *done = (size_t)at;
            if (*done >= end || pass.carried >= CARRY)
                return false;
        }
        return true;
    }
    traverseproc traverse = Py_TYPE(object)->tp_traverse;
    if (traverse == NULL)
        return true;
    bool plain = plain_container(object);
    found.heap = heap;
    found.skip = *done;
    found.seen = found.count = found.bytes = 0;
    traverse(object, note, NULL);
    bool all = !found_enough();
    *done = found.seen;
    for (size_t i = 0; i < found.count; i++)
        move(heap, found.owners[i], plain);
    return all;
}

/* --- passes ------------------------------------------------------------------------------------- */

/* An exception may be on its way while we work; and nothing here may start a collection (3.11: any
 * allocation can), whose ticks would find us half done. */
static bool prepare(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int enabled = PyGC_Disable();
    if (!host.looked)
        look_at_host();
    if (!host.frames)
        host.frames = compat_knows_frames(PyInterpreterState_Main());
    if (host.frames)
        pass.marker = gcstate_new_marker();
    if (enabled)
        PyGC_Enable();
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return pass.marker != NULL;
}

size_t evacuate_begin(void)
{
    evacuate_abandon();
    struct heap *heap = domains_heap();
    PyMemAllocatorEx now;
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &now);
    if (heap == NULL || now.ctx != NULL) /* a tool watches where blocks are: tracemalloc */
        return 0;
    if (!prepare())
        return 0;
    size_t bytes = heap_evacuate_begin(heap);
    if (bytes == 0)
        Py_CLEAR(pass.marker);
    pass.placed = false;
    pass.partly = NULL;
    pass.fulls = 0;
    return bytes;
}

void evacuate_abandon(void)
{
    if (pass.marker == NULL)
        return;
    heap_evacuate_end(domains_heap());
    Py_CLEAR(pass.marker);
}

/* Whether the marker is still where it was put, as far as anybody can have taken it away. */
static bool marker_stayed(const struct gcstate *gc)
{
    if (!pass.placed) {
        struct gc_links *marker = gc_links_of(pass.marker), *first = gcstate_next(gcstate_head(gc, 2));
        if (first != marker)
            gcstate_move(marker, first);
        pass.placed = true;
        pass.frozen = gcstate_frozen(gc);
        pass.pending = gcstate_pending(gc);
    }
    pass.fulls += gcstate_pending(gc) < pass.pending;
    pass.pending = gcstate_pending(gc);
    return pass.frozen == gcstate_frozen(gc) && pass.fulls <= FULLS;
}

static bool is_head(const struct gcstate *gc, const struct gc_links *links)
{
    return links == gcstate_head(gc, 2) || links == gcstate_head(gc, 1) || links == gcstate_head(gc, 0) ||
           links == &gc->state->permanent.head;
}

/* Returns whether the end of the list was reached. */
static bool walk(struct heap *heap, const struct gcstate *gc, uint64_t start_ns, uint64_t budget_ns)
{
    struct gc_links *links = gcstate_next(gc_links_of(pass.marker));
    size_t done = links == pass.partly ? pass.done : 0;
    pass.partly = NULL;
    for (unsigned objects = 0; !is_head(gc, links);) {
        __builtin_prefetch(gcstate_next(links));
        bool all = look_at(heap, gc_object_of(links), &done);
        if (all) {
            links = gcstate_next(links);
            done = 0;
        }
        if (all && ++objects % LOOK_EVERY != 0 && pass.carried < CARRY)
            continue;
        pass.carried = 0;
        if (budget_ns != UINT64_MAX && platform_now_ns() - start_ns >= budget_ns) {
            gcstate_move(gc_links_of(pass.marker), links);
            pass.partly = done != 0 ? links : NULL;
            pass.done = done;
            return false;
        }
    }
    return true;
}

bool evacuate_slice(const struct gcstate *gc, uint64_t budget_ns)
{
    struct heap *heap = domains_heap();
    if (pass.marker == NULL)
        return true;
    uint64_t start_ns = platform_now_ns();
    bool over = !heap_evacuating(heap) || !marker_stayed(gc);
    if (!over) {
        bool understood = stacks_look(heap);
        evacuate_figures.refused += !understood;
        over = !understood || walk(heap, gc, start_ns, budget_ns);
    }
    if (over)
        evacuate_abandon();
    uint64_t ns = platform_now_ns() - start_ns;
    if (ns > evacuate_figures.longest_ns)
        evacuate_figures.longest_ns = ns;
    return over;
}

/* picture.c: reads the heap into plain memory first, and makes Python objects of it then. */
#include "picture.h"

#include "domains.h"
#include "platform/platform.h"

#define REGIONS 2 /* of slots */
#define PAGES (HEAP_UNIT / HEAP_PAGE)

/* How full a page is: as heap_view tells it, and as picture.h does. */
#define FULL_PAGE 254u
#define NO_MEMORY 255u
#define PAGE_FULL 250u
#define PAGE_RETURNED 254u
#define PAGE_NEVER_USED 255u

#define FORMAT "=QIBBBx16s"

struct record {
    uint64_t address;
    uint32_t slot_bytes;
    uint8_t kind, region, huge, pad;
    uint8_t occupancy[PAGES];
};
_Static_assert(sizeof(struct record) == 32, "as FORMAT says");
_Static_assert((int)HEAP_UNIT_ROOM == 3 && (int)HEAP_REGIONS == REGIONS, "as picture.h tells Python");

struct picture {
    const struct heap *heap;
    struct heap_figures figures;
    struct heap_class_figures classes[REGIONS][HEAP_CLASSES];
    bool refused;         /* no memory for the records */
    size_t count, mapped; /* records; bytes they may take */
    struct record *records;
};

/* --- reading ------------------------------------------------------------------------------------ */

static bool make_place(struct picture *picture)
{
    if ((picture->count + 1) * sizeof(struct record) <= picture->mapped)
        return true;
    size_t wanted = picture->mapped * 2;
    void *records = platform_remap(picture->records, picture->mapped, wanted);
    if (records == NULL)
        return false;
    picture->records = records;
    picture->mapped = wanted;
    return true;
}

/* What picture.h tells of a page that the view tells as `told`. */
static uint8_t translate(uint8_t told, bool returned)
{
    if (told == NO_MEMORY)
        return returned ? PAGE_RETURNED : PAGE_NEVER_USED;
    return (uint8_t)((told * PAGE_FULL + FULL_PAGE / 2) / FULL_PAGE); /* only 0 becomes 0 */
}

static void add_unit(void *context, const struct heap_unit_view *view)
{
    struct picture *picture = context;
    if (picture->refused || !make_place(picture)) {
        picture->refused = true;
        return;
    }
    struct record *record = &picture->records[picture->count++];
    *record = (struct record){
        .address = view->at,
        .slot_bytes = view->slot_bytes,
        .kind = (uint8_t)view->kind,
        .region = view->region,
        .huge = view->huge,
    };
    uint32_t returned = view->kind == HEAP_UNIT_FREE ? UINT16_MAX : 0;
    if (view->kind == HEAP_UNIT_SLAB)
        returned = heap_slab_of(picture->heap, (const void *)view->at)->purged;
    for (unsigned page = 0; page < PAGES; page++)
        record->occupancy[page] = translate(view->occupancy[page], (returned >> page & 1) != 0);
}

/* --- as Python objects -------------------------------------------------------------------------- */

/* Append the new object to the list. */
static bool add(PyObject *list, PyObject *item)
{
    bool added = item != NULL && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return added;
}

static PyObject *figures_dict(const struct heap_figures *f)
{
    return Py_BuildValue(
        "{snsnsnsnsnsnsnsnsnsnsn}", "blocks", (Py_ssize_t)f->blocks, "live_bytes", (Py_ssize_t)f->live_bytes,
        "mapped_bytes", (Py_ssize_t)f->mapped_bytes, "resident_bytes", (Py_ssize_t)f->resident_bytes,
        "free_bytes", (Py_ssize_t)f->free_bytes, "returned_bytes", (Py_ssize_t)f->returned_bytes,
        "side_bytes", (Py_ssize_t)f->side_bytes, "moved_blocks", (Py_ssize_t)f->moved_blocks, "moved_bytes",
        (Py_ssize_t)f->moved_bytes, "advised", (Py_ssize_t)f->advised, "purges", (Py_ssize_t)f->purges);
}

static PyObject *classes_list(const struct picture *picture)
{
    static const char *const names[REGIONS] = {"objects", "buffers"};
    PyObject *list = PyList_New(0);
    for (unsigned region = 0; region < REGIONS; region++)
        for (unsigned i = 1; i < HEAP_CLASSES && list != NULL; i++) {
            const struct heap_class_figures *f = &picture->classes[region][i];
            if (f->slabs != 0 &&
                !add(list, Py_BuildValue("{sssnsnsnsnsnsn}", "region", names[region], "slot_bytes",
                                         (Py_ssize_t)f->slot_bytes, "slabs", (Py_ssize_t)f->slabs, "blocks",
                                         (Py_ssize_t)f->blocks, "slots", (Py_ssize_t)f->slots,
                                         "resident_bytes", (Py_ssize_t)f->resident_bytes, "purged_bytes",
                                         (Py_ssize_t)f->purged_bytes)))
                Py_CLEAR(list);
        }
    return list;
}

/* The heap tells no figures of its rooms alone: they are what slabs and free units leave of all. */
static PyObject *rooms_dict(const struct picture *picture)
{
    size_t blocks = picture->figures.blocks, live = picture->figures.live_bytes;
    size_t resident = picture->figures.resident_bytes;
    for (unsigned region = 0; region < REGIONS; region++)
        for (unsigned i = 1; i < HEAP_CLASSES; i++) {
            const struct heap_class_figures *f = &picture->classes[region][i];
            blocks -= f->blocks;
            live -= f->blocks * f->slot_bytes;
            resident -= f->resident_bytes;
        }
    for (size_t i = 0; i < picture->count; i++) {
        const struct record *record = &picture->records[i];
        if (record->kind < HEAP_UNIT_SLAB && record->occupancy[0] <= PAGE_FULL)
            resident -= HEAP_UNIT;
    }
    return Py_BuildValue("{snsnsn}", "blocks", (Py_ssize_t)blocks, "live_bytes", (Py_ssize_t)live,
                         "resident_bytes", (Py_ssize_t)resident);
}

static PyObject *picture_dict(const struct picture *picture)
{
    /* "N" takes the object, and frees it when another one is NULL. */
    return Py_BuildValue("{snsnsNsNsNsssN}", "page_bytes", (Py_ssize_t)HEAP_PAGE, "unit_bytes",
                         (Py_ssize_t)HEAP_UNIT, "figures", figures_dict(&picture->figures), "classes",
                         classes_list(picture), "rooms", rooms_dict(picture), "unit_format", FORMAT, "units",
                         PyBytes_FromStringAndSize((const char *)picture->records,
                                                   (Py_ssize_t)(picture->count * sizeof *picture->records)));
}

PyObject *picture_take(void)
{
    const struct heap *heap = domains_heap();
    if (heap == NULL)
        Py_RETURN_NONE;
    struct picture *picture = platform_map(sizeof *picture);
    if (picture == NULL)
        return PyErr_NoMemory();
    picture->heap = heap;
    heap_tell(heap, &picture->figures);
    picture->mapped = (picture->figures.mapped_bytes / HEAP_UNIT + 1024) * sizeof *picture->records;
    picture->records = platform_map(picture->mapped);
    if (picture->records != NULL)
        heap_view(heap, add_unit, picture);
    for (unsigned region = 0; region < REGIONS; region++)
        for (unsigned i = 1; i < HEAP_CLASSES; i++)
            heap_tell_class(heap, (enum heap_region)region, i, &picture->classes[region][i]);
    PyObject *dict = picture->records != NULL && !picture->refused ? picture_dict(picture) : PyErr_NoMemory();
    platform_unmap(picture->records, picture->mapped);
    platform_unmap(picture, sizeof *picture);
    return dict;
}

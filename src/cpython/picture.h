/* picture.h: the managed heap as Python data, for midden.heap_map().
 *
 * Invariant: everything is read before the first Python object is made, so what the picture itself needs is not in
 * it, and all its parts are of one moment.
 *
 * Needs the main interpreter's GIL. */
#ifndef MIDDEN_CPYTHON_PICTURE_H
#define MIDDEN_CPYTHON_PICTURE_H

#include "compat.h"

/* A new dict, None where there never was a heap, or NULL with MemoryError:
 *
 *   page_bytes, unit_bytes   4096, 65536
 *   figures      a dict of struct heap_figures, by the names there
 *   classes      a list of dicts, one for each size class that has slabs: region ("objects", "buffers"), and
 *                the names of struct heap_class_figures
 *   rooms        a dict: blocks, live_bytes, resident_bytes
 *   unit_format  how to read units, in the words of Python's struct module
 *   units        bytes, one record for each unit, of each arena and each room, in address order: address,
 *                slot_bytes, kind (0 unused, 1 free, 2 slab, 3 room), region (0 objects, 1 buffers, 2 rooms),
 *                huge, and for each page how full it is: 0 to 250; 254 where its memory was returned to
 *                the system, and 255 where it was never used
 *
 * A heap of a gigabyte is half a megabyte of units. */
PyObject *picture_take(void);

#endif

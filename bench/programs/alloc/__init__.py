"""Programs that allocate and free all the time, one for each habit that an allocator may dislike.

Each is a function without arguments that does a fixed piece of work and returns something that depends on all
of it. `PROGRAMS` maps names to (module, function, repeats): the repeats make each take over half a second.
"""

PROGRAMS: dict[str, tuple[str, str, int]] = {
    "growing": ("containers", "growing", 34),
    "table_churn": ("containers", "table_churn", 13),
    "small_objects": ("objects", "small_objects", 5),
    "data_trees": ("objects", "data_trees", 5),
    "queue_churn": ("objects", "queue_churn", 18),
    "random_lifetimes": ("objects", "random_lifetimes", 15),
    "strings": ("texts", "strings", 110),
    "bytearrays": ("texts", "bytearrays", 65),
    "json_document": ("texts", "json_document", 2),
    "big_integers": ("numbers", "big_integers", 55),
}

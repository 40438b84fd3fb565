"""Short programs with small heaps, of the kinds that benchmark suites for Python use; written for this one.

Each is a function without arguments that does a fixed piece of work and returns something that depends on all
of it. `PROGRAMS` maps names to (module, function, repeats): the repeats make each take roughly a second.
"""

PROGRAMS: dict[str, tuple[str, str, int]] = {
    "async_tree": ("tasks", "async_tree", 7),
    "binary_trees": ("objects", "binary_trees", 26),
    "chaos": ("numeric", "chaos", 60),
    "constraints": ("objects", "constraints", 90),
    "fannkuch": ("numeric", "fannkuch", 13),
    "generators": ("tasks", "generators", 10),
    "go_board": ("objects", "go_board", 80),
    "json": ("texts", "json_both_ways", 55),
    "logging": ("texts", "logging_lines", 4),
    "nbody": ("numeric", "nbody", 14),
    "pickle": ("texts", "pickle_both_ways", 60),
    "raytrace": ("numeric", "raytrace", 28),
    "regex": ("texts", "regex_scan", 55),
    "scheduler": ("objects", "scheduler", 7),
}

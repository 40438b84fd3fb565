/* listing.h: putting the collector's lists into a graph.
 *
 * A stock collection leaves a list in the order in which it reached the objects: following it is a jump to
 * another page at every step, and takes longer than all the rest of a search. So the oldest list is followed
 * from many places at once, both ways, each waiting for its own memory. Any tracked object is such a
 * place; a chain ends where it comes to a head, or to an object that another one has listed. Chains from
 * both ends are among them, so nothing is missed. */
#ifndef MIDDEN_CPYTHON_LISTING_H
#define MIDDEN_CPYTHON_LISTING_H

#include "gcstate.h"
#include "graph/graph.h"

/* Polled now and then; non-zero ends the listing (GRAPH_STOPPED). */
typedef int listing_proceed(void *context);

/* The two young lists. */
enum graph_status listing_young(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                                void *context);
/* What was promoted since the marker (all of the oldest list if the marker is not in it). */
enum graph_status listing_middle(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                                 void *context);
/* The whole oldest list. pre: the young ones are in the graph. */
enum graph_status listing_old(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                              void *context);

#endif

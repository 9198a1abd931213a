/* SPDX-License-Identifier: GPL-2.0-only
 *
 * untraced.c: the datapath with trace.h left out, to see what it costs while nobody traces. Nobody loads it but a bench.
 */
#include "../compat.h"
#include "../maps.h"

#define BGPBRIDGE_TRACE_H
#define is_tracing(settings)                       0
#define trace(ctx, reason, octets)                 (void)0
#define note_way(settings, group, hash, adjacency) (void)0

#include "../bgpbridge.c"

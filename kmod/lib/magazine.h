/* SPDX-License-Identifier: GPL-2.0-only */
/* A store of ready objects, which cores use without contention. */
#ifndef KTCP_MAGAZINE_H
#define KTCP_MAGAZINE_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct ktcp_magazine;
struct ktcp_magazine_cpu;

/**
 * struct ktcp_depot - Objects that wait to be taken
 * @cpu: magazines of each core
 * @lock: only taken to exchange whole magazines
 * @full: magazines with objects that no core has at hand, most of them full
 * @empty: magazines without objects
 */
struct ktcp_depot {
	struct ktcp_magazine_cpu __percpu *cpu;
	spinlock_t lock; /* protects full and empty */
	struct ktcp_magazine *full;
	struct ktcp_magazine *empty;
};

int ktcp_depot_init(struct ktcp_depot *depot);
void ktcp_depot_exit(struct ktcp_depot *depot);

int ktcp_depot_put(struct ktcp_depot *depot, void *object);
void *ktcp_depot_take(struct ktcp_depot *depot);

typedef bool (*ktcp_depot_reject_fn)(void *object, void *arg);

void ktcp_depot_sift(struct ktcp_depot *depot, ktcp_depot_reject_fn reject,
		     void *arg);

#endif /* KTCP_MAGAZINE_H */

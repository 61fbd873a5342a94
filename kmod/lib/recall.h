/* SPDX-License-Identifier: GPL-2.0-only */
/* Remembers addresses for a while. */
#ifndef KTCP_RECALL_H
#define KTCP_RECALL_H

#include "lib/address.h"

#include <linux/siphash.h>
#include <linux/spinlock.h>

#define KTCP_RECALLS 256

/**
 * struct ktcp_recall - A bounded memory for addresses
 * @key: of the hash that stands for an address
 * @noted: the latest address at each place, as its hash
 */
struct ktcp_recall {
	spinlock_t lock; /* protects noted */
	siphash_key_t key;
	struct {
		u64 hash;
		unsigned long until; /* jiffies, 0: nothing */
	} noted[KTCP_RECALLS];
};

void ktcp_recall_init(struct ktcp_recall *recall);
void ktcp_recall_note(struct ktcp_recall *recall, const union ktcp_addr *addr,
		      u32 beside, unsigned long period);
bool ktcp_recall_has(struct ktcp_recall *recall, const union ktcp_addr *addr,
		     u32 beside);

#endif /* KTCP_RECALL_H */

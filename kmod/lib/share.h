/* SPDX-License-Identifier: GPL-2.0-only */
/* Counts how much of a limited thing each source prefix uses. */
#ifndef KTCP_SHARE_H
#define KTCP_SHARE_H

#include "lib/address.h"

#include <linux/atomic.h>
#include <linux/siphash.h>

#define KTCP_PREFIXES 1024

/**
 * struct ktcp_share - How much each prefix uses
 * @count: by the prefix's slot
 */
struct ktcp_share {
	atomic_t count[KTCP_PREFIXES];
};

unsigned int ktcp_share_slot(const siphash_key_t *key,
			     const union ktcp_addr *source);
bool ktcp_share_take(struct ktcp_share *share, unsigned int slot, u32 most);
void ktcp_share_give(struct ktcp_share *share, unsigned int slot);
u32 ktcp_share_used(const struct ktcp_share *share, unsigned int slot);

#endif /* KTCP_SHARE_H */

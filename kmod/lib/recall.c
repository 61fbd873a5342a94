// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bounded memory for addresses. A keyed hash gives each address its place,
 * and a later address at the same place replaces it. So many addresses only
 * make old ones forgotten, and users must be able to live with that.
 *
 * Context of all: any.
 */

#include "lib/recall.h"

#include <linux/jiffies.h>
#include <linux/random.h>

/**
 * ktcp_recall_init() - Make an empty memory
 * @recall: zeroed; filled
 */
void ktcp_recall_init(struct ktcp_recall *recall)
{
	spin_lock_init(&recall->lock);
	get_random_bytes(&recall->key, sizeof(recall->key));
}

static u64 hash_of(const struct ktcp_recall *recall,
		   const union ktcp_addr *addr, u32 beside)
{
	const u32 *word = (const u32 *)&addr->in6.sin6_addr;

	if (addr->sa.sa_family == AF_INET)
		return siphash_2u32((__force u32)addr->in.sin_addr.s_addr,
				    beside, &recall->key);
	return siphash_3u64((u64)word[0] << 32 | word[1],
			    (u64)word[2] << 32 | word[3], beside,
			    &recall->key);
}

/**
 * ktcp_recall_note() - Note an address
 * @recall: the memory
 * @addr: the address; its port does not count
 * @beside: a number that has to match as well
 * @period: for how long, jiffies
 */
void ktcp_recall_note(struct ktcp_recall *recall, const union ktcp_addr *addr,
		      u32 beside, unsigned long period)
{
	u64 hash = hash_of(recall, addr, beside);
	unsigned int place = hash % KTCP_RECALLS;

	spin_lock_bh(&recall->lock);
	recall->noted[place].hash = hash;
	recall->noted[place].until = jiffies + period ?: 1;
	spin_unlock_bh(&recall->lock);
}

/**
 * ktcp_recall_has() - Was this address noted, and is its period not over?
 * @recall: the memory
 * @addr: the address
 * @beside: a number that has to match as well
 *
 * Return: false also if it was forgotten.
 */
bool ktcp_recall_has(struct ktcp_recall *recall, const union ktcp_addr *addr,
		     u32 beside)
{
	u64 hash = hash_of(recall, addr, beside);
	unsigned int place = hash % KTCP_RECALLS;
	bool has;

	spin_lock_bh(&recall->lock);
	has = recall->noted[place].until &&
	      recall->noted[place].hash == hash &&
	      time_before(jiffies, recall->noted[place].until);
	/* Or the note would become valid again when jiffies wrap. */
	if (!has && recall->noted[place].hash == hash)
		recall->noted[place].until = 0;
	spin_unlock_bh(&recall->lock);
	return has;
}

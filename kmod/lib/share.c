// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nobody can exhaust a relay: each source prefix, /24 or /56, gets a share of
 * every limited thing. A keyed hash gives each prefix a slot to count in, so
 * nobody can choose whose share to use up; two prefixes with the same slot have
 * one share together.
 *
 * Context of all: any.
 */

#include "lib/share.h"

/**
 * ktcp_share_slot() - Where a prefix is counted
 * @key: of the hash
 * @source: an address in the prefix
 */
unsigned int ktcp_share_slot(const siphash_key_t *key,
			     const union ktcp_addr *source)
{
	u64 prefix;

	if (source->sa.sa_family == AF_INET)
		prefix = ntohl(source->in.sin_addr.s_addr) >> 8;
	else
		prefix = be64_to_cpup((__be64 *)&source->in6.sin6_addr) >> 8;
	return siphash_1u64(prefix, key) % KTCP_PREFIXES;
}

/**
 * ktcp_share_take() - Take one more
 * @share: what is counted
 * @slot: of the prefix
 * @most: how many a prefix may have
 *
 * Return: false if the prefix already has @most.
 */
bool ktcp_share_take(struct ktcp_share *share, unsigned int slot, u32 most)
{
	if ((u32)atomic_inc_return(&share->count[slot]) <= most)
		return true;
	atomic_dec(&share->count[slot]);
	return false;
}

/**
 * ktcp_share_give() - Give one back
 * @share: what is counted
 * @slot: of the prefix
 */
void ktcp_share_give(struct ktcp_share *share, unsigned int slot)
{
	atomic_dec(&share->count[slot]);
}

/**
 * ktcp_share_used() - How many a prefix has
 * @share: what is counted
 * @slot: of the prefix
 */
u32 ktcp_share_used(const struct ktcp_share *share, unsigned int slot)
{
	return atomic_read(&share->count[slot]);
}

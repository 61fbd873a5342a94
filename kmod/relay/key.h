/* SPDX-License-Identifier: GPL-2.0-only */
/* Pre-shared keys, by which relays know each other. */
#ifndef KTCP_KEY_H
#define KTCP_KEY_H

#include <linux/kref.h>
#include <linux/types.h>

struct crypto_shash;
struct ktcp_net;
struct ktcp_proc_file;

#define KTCP_KEY_BYTES 32
#define KTCP_MAC_BYTES 32

struct ktcp_key {
	struct kref ref;
	u16 id;
	struct crypto_shash *hmac;
};

struct ktcp_key *ktcp_key_get(struct ktcp_net *ktcp, u16 id);
void ktcp_key_put(struct ktcp_key *key);
int ktcp_key_mac(const struct ktcp_key *key, const void *data, size_t len,
		 u8 mac[KTCP_MAC_BYTES]);

extern const struct ktcp_proc_file ktcp_keys_file;

#endif /* KTCP_KEY_H */

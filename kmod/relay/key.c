// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys by number. Several may be in force at once, so that a mesh can change
 * from an old key to a new one. A key is written by procfs and is never shown.
 */

#include "relay/key.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/table.h"
#include "lib/compat/hex.h"

#include <crypto/hash.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>

static void key_release(struct kref *ref)
{
	struct ktcp_key *key = container_of(ref, struct ktcp_key, ref);

	crypto_free_shash(key->hmac);
	kfree(key);
}

static void key_table_get(void *object)
{
	kref_get(&((struct ktcp_key *)object)->ref);
}

static void key_table_put(void *object)
{
	ktcp_key_put(object);
}

static const struct ktcp_table_type key_table = {
	.get = key_table_get,
	.put = key_table_put,
};

/**
 * ktcp_key_put() - Drop a reference
 * @key: the key
 *
 * Context: may sleep.
 */
void ktcp_key_put(struct ktcp_key *key)
{
	kref_put(&key->ref, key_release);
}

static int key_find(const struct ktcp_table *table, u16 id)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++)
		if (((struct ktcp_key *)table->object[i])->id == id)
			return i;
	return -ENOENT;
}

/**
 * ktcp_key_get() - Find a key
 * @ktcp: the namespace
 * @id: its number
 *
 * Context: any.
 * Return: the key with a reference, NULL if there is none.
 */
struct ktcp_key *ktcp_key_get(struct ktcp_net *ktcp, u16 id)
{
	struct ktcp_key *key = NULL;
	struct ktcp_table *table;
	int i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->keys);
	i = key_find(table, id);
	if (i >= 0) {
		key = table->object[i];
		kref_get(&key->ref);
	}
	rcu_read_unlock();
	return key;
}

/**
 * ktcp_key_mac() - HMAC-SHA256 (RFC 2104)
 * @key: the key
 * @data: what the MAC is computed over
 * @len: bytes of @data
 * @mac: set on success
 *
 * Context: may sleep.
 * Return: 0 or the error of the hash.
 */
int ktcp_key_mac(const struct ktcp_key *key, const void *data, size_t len,
		 u8 mac[KTCP_MAC_BYTES])
{
	return crypto_shash_tfm_digest(key->hmac, data, len, mac);
}

static struct ktcp_key *new_key(u16 id, const u8 secret[KTCP_KEY_BYTES])
{
	struct ktcp_key *key = kzalloc(sizeof(*key), GFP_KERNEL);
	int err;

	if (!key)
		return ERR_PTR(-ENOMEM);
	kref_init(&key->ref);
	key->id = id;
	key->hmac = crypto_alloc_shash("hmac(sha256)", 0, 0);
	if (IS_ERR(key->hmac)) {
		err = PTR_ERR(key->hmac);
		goto free_key;
	}
	err = crypto_shash_setkey(key->hmac, secret, KTCP_KEY_BYTES);
	if (err)
		goto free_hmac;
	return key;

free_hmac:
	crypto_free_shash(key->hmac);
free_key:
	kfree(key);
	return ERR_PTR(err);
}

/* The message never quotes the secret, not even a wrong one. */
static int take_secret(struct ktcp_command *cmd, u8 secret[KTCP_KEY_BYTES])
{
	const char *hex;
	int err;

	err = ktcp_command_text(cmd, "the key", &hex);
	if (err)
		return err;
	if (strlen(hex) != 2 * KTCP_KEY_BYTES ||
	    hex2bin(secret, hex, KTCP_KEY_BYTES))
		return ktcp_command_fail(cmd, "<key>", -EINVAL,
					 "a key is %u hexadecimal digits",
					 2 * KTCP_KEY_BYTES);
	return 0;
}

static int key_add(struct ktcp_command *cmd, struct ktcp_table **draft, u16 id)
{
	u8 secret[KTCP_KEY_BYTES];
	struct ktcp_key *key;
	int err;

	err = take_secret(cmd, secret) ?: ktcp_command_end(cmd);
	if (err)
		goto wipe_secret;
	if (key_find(*draft, id) >= 0) {
		err = ktcp_command_fail(cmd, cmd->word[1], -EEXIST,
					"this key is there already");
		goto wipe_secret;
	}
	key = new_key(id, secret);
	if (IS_ERR(key))
		err = ktcp_command_fail(cmd, cmd->word[1], PTR_ERR(key),
					"hmac(sha256) is not to be had");
	else
		err = ktcp_table_insert(draft, (*draft)->count, key);
wipe_secret:
	memzero_explicit(secret, sizeof(secret));
	return err;
}

static int key_del(struct ktcp_command *cmd, struct ktcp_table *draft, u16 id)
{
	int i, err = ktcp_command_end(cmd);

	if (err)
		return err;
	i = key_find(draft, id);
	if (i < 0)
		return ktcp_command_fail(cmd, cmd->word[1], -ENOENT,
					 "no such key");
	ktcp_table_remove(draft, i);
	return 0;
}

static int keys_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const verbs[] = { "add", "del" };
	int verb = ktcp_command_choice(cmd, verbs, ARRAY_SIZE(verbs));
	u32 id;
	int err;

	if (verb < 0)
		return verb;
	err = ktcp_command_u32(cmd, "the key's number", 1, U16_MAX, &id);
	if (err)
		return err;
	if (verb == 0)
		return key_add(cmd, (struct ktcp_table **)draft, id);
	return key_del(cmd, *draft, id);
}

const struct ktcp_proc_file ktcp_keys_file = {
	.name = "keys",
	.mode = 0200,
	.line = keys_line,
	.table_type = &key_table,
	.table_slot = offsetof(struct ktcp_net, keys),
};

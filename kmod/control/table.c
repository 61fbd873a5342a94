// SPDX-License-Identifier: GPL-2.0-only
/*
 * Configuration that the datapath reads without a lock. A write to a procfs
 * file edits a draft and publishes it as a whole, so that readers see all of
 * the write or nothing of it.
 */

#include "control/table.h"

#include <linux/slab.h>
#include <linux/string.h>

#define ROOM 8

static struct ktcp_table *table_alloc(const struct ktcp_table_type *type,
				      u32 size)
{
	struct ktcp_table *table;

	table = kvzalloc(struct_size(table, object, size), GFP_KERNEL);
	if (!table)
		return NULL;
	table->type = type;
	table->size = size;
	return table;
}

/**
 * ktcp_table_draft() - A copy to edit
 * @from: the table in force, NULL for an empty one
 * @type: what it holds
 *
 * Context: may sleep; the owner's update lock is held.
 * Return: the draft, NULL without memory.
 */
struct ktcp_table *ktcp_table_draft(const struct ktcp_table *from,
				    const struct ktcp_table_type *type)
{
	struct ktcp_table *draft;
	u32 i;

	draft = table_alloc(type, ktcp_table_count(from) + ROOM);
	if (!draft)
		return NULL;
	for (i = 0; i < ktcp_table_count(from); i++) {
		type->get(from->object[i]);
		draft->object[draft->count++] = from->object[i];
	}
	return draft;
}

/* The objects move to a larger draft, and keep their references. */
static int draft_grow(struct ktcp_table **draft)
{
	struct ktcp_table *old = *draft;
	struct ktcp_table *new = table_alloc(old->type, old->size * 2);

	if (!new)
		return -ENOMEM;
	memcpy(new->object, old->object, old->count * sizeof(*old->object));
	new->count = old->count;
	kvfree(old);
	*draft = new;
	return 0;
}

/**
 * ktcp_table_insert() - Put an object into a draft
 * @draft: moved when it has to grow
 * @index: place of the new object; objects from there on move up
 * @object: the draft takes over its reference, also on failure
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_table_insert(struct ktcp_table **draft, u32 index, void *object)
{
	void **place;

	if ((*draft)->count == (*draft)->size && draft_grow(draft)) {
		(*draft)->type->put(object);
		return -ENOMEM;
	}
	place = &(*draft)->object[index];
	memmove(place + 1, place, ((*draft)->count - index) * sizeof(*place));
	*place = object;
	(*draft)->count++;
	return 0;
}

/**
 * ktcp_table_remove() - Take an object out of a draft and drop it
 * @draft: the draft
 * @index: place of the object
 *
 * Context: may sleep.
 */
void ktcp_table_remove(struct ktcp_table *draft, u32 index)
{
	void **place = &draft->object[index];

	draft->type->put(*place);
	draft->count--;
	memmove(place, place + 1, (draft->count - index) * sizeof(*place));
}

/**
 * ktcp_table_free() - Drop a draft, or a table that nobody reads any more
 * @table: may be NULL
 *
 * Context: may sleep.
 */
void ktcp_table_free(struct ktcp_table *table)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++)
		table->type->put(table->object[i]);
	kvfree(table);
}

/**
 * ktcp_table_publish() - Put a draft in force and free what it replaces
 * @slot: where readers find the table
 * @draft: the new table, NULL for none
 *
 * Context: waits for readers; the owner's update lock is held.
 */
void ktcp_table_publish(struct ktcp_table __rcu **slot,
			struct ktcp_table *draft)
{
	struct ktcp_table *old = rcu_replace_pointer(*slot, draft, true);

	if (!old)
		return;
	/* Readers that found an object in it have taken a reference. */
	synchronize_rcu();
	ktcp_table_free(old);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/* Lists of objects that are read under RCU and replaced as a whole. */
#ifndef KTCP_TABLE_H
#define KTCP_TABLE_H

#include <linux/rcupdate.h>
#include <linux/types.h>

/**
 * struct ktcp_table_type - What a table holds
 * @get: take a reference of an object
 * @put: drop it; may sleep
 */
struct ktcp_table_type {
	void (*get)(void *object);
	void (*put)(void *object);
};

/**
 * struct ktcp_table - References to objects, in order
 * @type: what it holds
 * @count: objects in it
 * @size: objects that fit
 * @object: the objects
 */
struct ktcp_table {
	const struct ktcp_table_type *type;
	u32 count;
	u32 size;
	void *object[];
};

/* NULL stands for an empty table. */
static inline u32 ktcp_table_count(const struct ktcp_table *table)
{
	return table ? table->count : 0;
}

struct ktcp_table *ktcp_table_draft(const struct ktcp_table *from,
				    const struct ktcp_table_type *type);
int ktcp_table_insert(struct ktcp_table **draft, u32 index, void *object);
void ktcp_table_remove(struct ktcp_table *draft, u32 index);
void ktcp_table_publish(struct ktcp_table __rcu **slot,
			struct ktcp_table *draft);
void ktcp_table_free(struct ktcp_table *table);

#endif /* KTCP_TABLE_H */

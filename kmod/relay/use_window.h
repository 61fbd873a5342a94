/* SPDX-License-Identifier: GPL-2.0-only */
/* Which uses of a ticket were made: one bit for each of the last ones. */
#ifndef KTCP_USE_WINDOW_H
#define KTCP_USE_WINDOW_H

#include <linux/types.h>

/**
 * struct ktcp_use_window - The last uses of a ticket
 * @highest: the highest use so far
 * @size: how many uses up to @highest are known, a power of two
 * @used: bit n % @size for use n
 */
struct ktcp_use_window {
	u64 highest;
	u32 size;
	unsigned long *used;
};

/* Sizes of a window: the least, and the largest if there is memory. */
#define KTCP_USE_WINDOW_MIN 1024u
#define KTCP_USE_WINDOW_MAX 131072u

int ktcp_use_window_init(struct ktcp_use_window *window);
void ktcp_use_window_exit(struct ktcp_use_window *window);
u32 ktcp_use_window_wants(const struct ktcp_use_window *window, u64 use);
int ktcp_use_window_grow(struct ktcp_use_window *window, u32 size);
bool ktcp_use_window_take(struct ktcp_use_window *window, u64 use);

#endif /* KTCP_USE_WINDOW_H */

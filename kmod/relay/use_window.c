// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which numbers were used, as IPsec keeps it (RFC 4303, section 3.4.3): a
 * window behind the highest one. Connections may overtake each other by as much
 * as it is wide; what is behind it counts as used.
 *
 * A SYN that is lost three times is sent 7 s later for the last time that
 * matters. With 10,000 uses a second that is 70,000 behind. Few tickets are
 * used so often, so the window grows with the uses that there were.
 *
 * Context of all, if not said otherwise: any; the caller keeps others away.
 */

#include "relay/use_window.h"

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>

/**
 * ktcp_use_window_init() - No use was yet
 * @window: filled
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_use_window_init(struct ktcp_use_window *window)
{
	window->highest = 0;
	window->size = KTCP_USE_WINDOW_MIN;
	window->used = bitmap_zalloc(window->size, GFP_KERNEL);
	return window->used ? 0 : -ENOMEM;
}

/**
 * ktcp_use_window_exit() - Free the memory
 * @window: not used any more
 */
void ktcp_use_window_exit(struct ktcp_use_window *window)
{
	bitmap_free(window->used);
}

/**
 * ktcp_use_window_wants() - How wide a window ought to be
 * @window: the window
 * @use: about to be taken, not 0
 *
 * Return: its size, or what ktcp_use_window_grow() should be told.
 */
u32 ktcp_use_window_wants(const struct ktcp_use_window *window, u64 use)
{
	if (use <= window->size)
		return window->size;
	return use >= KTCP_USE_WINDOW_MAX ? KTCP_USE_WINDOW_MAX :
					    roundup_pow_of_two((u32)use);
}

static u32 place_of(u64 use, u32 size)
{
	return use & (size - 1);
}

/**
 * ktcp_use_window_grow() - Make a window wider
 * @window: the window; stays as it is where there is no memory
 * @size: a power of two, at least twice what it is
 *
 * Return: 0 or -ENOMEM.
 */
int ktcp_use_window_grow(struct ktcp_use_window *window, u32 size)
{
	u32 last = place_of(window->highest, window->size);
	u32 here = place_of(window->highest - last, size);
	u32 before = place_of(here - window->size, size);
	unsigned long *used = bitmap_alloc(size, GFP_ATOMIC | __GFP_NOWARN);

	if (!used)
		return -ENOMEM;
	/* What was behind the window is not known, so it stays refused. */
	bitmap_fill(used, size);
	/* Bits up to last are of this turn around the window, others of the one before. */
	memcpy(used + here / BITS_PER_LONG, window->used,
	       window->size / BITS_PER_BYTE);
	memcpy(used + before / BITS_PER_LONG, window->used,
	       window->size / BITS_PER_BYTE);
	bitmap_set(used, here + last + 1, window->size - last - 1);
	bitmap_set(used, before, last + 1);
	bitmap_free(window->used);
	window->used = used;
	window->size = size;
	return 0;
}

static void advance(struct ktcp_use_window *window, u64 use)
{
	u32 steps = min_t(u64, use - window->highest, window->size);
	u32 first = place_of(window->highest + 1, window->size);
	u32 straight = min(steps, window->size - first);

	bitmap_clear(window->used, first, straight);
	bitmap_clear(window->used, 0, steps - straight);
	window->highest = use;
}

/**
 * ktcp_use_window_take() - A use is made
 * @window: the window
 * @use: number of the use, not 0
 *
 * Return: false where it was made before, or may have been.
 */
bool ktcp_use_window_take(struct ktcp_use_window *window, u64 use)
{
	if (use > window->highest)
		advance(window, use);
	else if (window->highest - use >= window->size)
		return false;
	return !__test_and_set_bit(place_of(use, window->size), window->used);
}

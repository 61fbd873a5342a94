// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which numbers were used. As in IPsec (RFC 4303, section 3.4.3), a window ends
 * at the highest number so far. Connections may overtake each other by as much
 * as the window is wide; a number behind the window counts as used.
 *
 * How wide is that? A SYN that is lost three times is sent again after 7 s, the
 * last time that matters. With 10,000 uses a second it is 70,000 uses behind
 * then. Few tickets are used so often, so the window grows with the number of
 * uses.
 *
 * Context of all, unless stated otherwise: any; the caller locks the window.
 */

#include "relay/use_window.h"

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>

/**
 * ktcp_use_window_init() - Prepare a window without a use
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
 * ktcp_use_window_wants() - How wide a window should be
 * @window: the window
 * @use: number of the use about to be made, not 0
 *
 * Return: its size, or a larger one for ktcp_use_window_grow().
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
 * @window: the window; unchanged if there is no memory
 * @size: new size, a power of two, at least twice the present one
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
	/* Uses behind the old window are not known, so they stay refused. */
	bitmap_fill(used, size);
	/*
	 * Bits up to last belong to this turn around the old window, the others
	 * to the turn before.
	 */
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

static void advance_window(struct ktcp_use_window *window, u64 use)
{
	u32 steps = min_t(u64, use - window->highest, window->size);
	u32 first = place_of(window->highest + 1, window->size);
	u32 straight = min(steps, window->size - first);

	bitmap_clear(window->used, first, straight);
	bitmap_clear(window->used, 0, steps - straight);
	window->highest = use;
}

/**
 * ktcp_use_window_take() - Make a use
 * @window: the window
 * @use: number of the use, not 0
 *
 * Return: false if it was made before, or may have been.
 */
bool ktcp_use_window_take(struct ktcp_use_window *window, u64 use)
{
	if (use > window->highest)
		advance_window(window, use);
	else if (window->highest - use >= window->size)
		return false;
	return !__test_and_set_bit(place_of(use, window->size), window->used);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compares windows with a list of all uses that were made. No use may be
 * accepted twice, whenever the window grows, and whenever it should grow and
 * cannot. A use that is inside the window and was not made before has to be
 * accepted.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "relay/use_window.c"
#include "selftest/selftest.h"

#include <linux/prandom.h>
#include <linux/printk.h>

#define RUNS 64
#define STEPS 2000
#define USES (2 * KTCP_USE_WINDOW_MAX)

static DECLARE_BITMAP(taken, USES + 1);

/* Mostly the next use, sometimes a leap ahead, sometimes an earlier one. */
static u64 next_use(const struct ktcp_use_window *window,
		    struct rnd_state *random)
{
	static const u32 reach[] = { 2, 2, 2, 2, 16, KTCP_USE_WINDOW_MIN };
	u32 most = reach[prandom_u32_state(random) % ARRAY_SIZE(reach)];
	u64 use = window->highest + prandom_u32_state(random) % most;

	if (prandom_u32_state(random) % 4 == 0)
		use -= min_t(u64, use, prandom_u32_state(random) % (4 * most));
	return clamp_t(u64, use, 1, USES);
}

static int step(struct ktcp_use_window *window, struct rnd_state *random)
{
	u64 use = next_use(window, random);
	u64 highest = window->highest;
	u32 size = ktcp_use_window_wants(window, use);
	bool near = use + KTCP_USE_WINDOW_MIN > highest;
	bool expected = !test_bit(use, taken);
	bool good;

	if (size > window->size && prandom_u32_state(random) % 4 &&
	    ktcp_use_window_grow(window, size))
		return -ENOMEM;
	good = ktcp_use_window_take(window, use);
	if (good ? !expected : expected && near) {
		pr_err("use %llu, %s before, was %s; the highest is %llu, of %u\n",
		       use, expected ? "not made" : "made",
		       good ? "taken" : "refused", highest, window->size);
		return -EIO;
	}
	if (good)
		__set_bit(use, taken);
	return 0;
}

static int run(u64 seed)
{
	struct ktcp_use_window window;
	struct rnd_state random;
	unsigned int steps;
	int err;

	bitmap_zero(taken, USES + 1);
	prandom_seed_state(&random, seed);
	err = ktcp_use_window_init(&window);
	if (err)
		return err;
	for (steps = 0; !err && steps < STEPS; steps++)
		err = step(&window, &random);
	ktcp_use_window_exit(&window);
	return err;
}

/**
 * ktcp_selftest_use_window() - Test windows with random uses, the same each
 * time
 *
 * Context: may sleep.
 * Return: 0, -EIO for a wrong answer, or -ENOMEM.
 */
int ktcp_selftest_use_window(void)
{
	u64 seed;
	int err = 0;

	for (seed = 0; !err && seed < RUNS; seed++)
		err = run(seed);
	return err;
}

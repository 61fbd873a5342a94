// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a split: one variable says how far it is, and the table here says
 * which state may follow which. docs/design.md has a drawing of it.
 *
 * Several work on a split at the same time: a thread connects the far side, the
 * engine moves bytes, somebody aborts it. So a step may come too late, because
 * the split is further than the caller could know. Such a step changes nothing.
 * The table lists these steps, too, so that any other one shows a mistake of
 * ours.
 *
 * A step is a compare and exchange, without a lock: a client's SYN takes one in
 * softirq, where nobody can wait for the mutex of a split. The mutex is for
 * callers that change the state and a socket together.
 */

#include "datapath/life.h"

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/kernel.h>

#define DROPPED BIT(KTCP_LIFE_DROPPED)
#define OPENING BIT(KTCP_LIFE_OPENING)
#define HALF BIT(KTCP_LIFE_HALF)
#define FAILED BIT(KTCP_LIFE_FAILED)
#define OPEN BIT(KTCP_LIFE_OPEN)
#define CLOSING BIT(KTCP_LIFE_CLOSING)
#define BREAKING BIT(KTCP_LIFE_BREAKING)
#define ABORTED BIT(KTCP_LIFE_ABORTED)
#define CLOSED BIT(KTCP_LIFE_CLOSED)

/**
 * struct state - A state of a split
 * @next: what may follow
 * @late: steps that come too late, and change nothing
 * @word: its word in procfs; NULL if procfs does not list the split
 */
struct state {
	unsigned int next;
	unsigned int late;
	const char *word;
};

static const struct state states[] = {
	[KTCP_LIFE_NEW] = {
		.next = OPENING | DROPPED | CLOSED,
	},
	[KTCP_LIFE_WAITING] = {
		.next = OPENING | DROPPED | CLOSED,
	},
	[KTCP_LIFE_DROPPED] = {
		.next = CLOSED,
		.late = OPENING | HALF | FAILED | DROPPED | ABORTED,
	},
	[KTCP_LIFE_OPENING] = {
		.next = HALF | FAILED | OPEN | ABORTED | CLOSED,
		.late = DROPPED,
		.word = "opening",
	},
	[KTCP_LIFE_HALF] = {
		.next = OPEN | ABORTED,
		.late = DROPPED,
		.word = "half",
	},
	[KTCP_LIFE_FAILED] = {
		.next = ABORTED,
		.late = DROPPED,
		.word = "failed",
	},
	[KTCP_LIFE_OPEN] = {
		.next = CLOSING | BREAKING | ABORTED,
		.late = DROPPED,
		.word = "open",
	},
	[KTCP_LIFE_CLOSING] = {
		.next = BREAKING | ABORTED | CLOSED,
		.late = DROPPED | CLOSING,
		.word = "closing",
	},
	[KTCP_LIFE_BREAKING] = {
		.next = ABORTED,
		.late = DROPPED | CLOSING | BREAKING,
		.word = "closing",
	},
	[KTCP_LIFE_ABORTED] = {
		.next = CLOSED,
		.late = DROPPED | HALF | FAILED | OPEN | CLOSING | BREAKING |
			ABORTED,
		.word = "closing",
	},
	[KTCP_LIFE_CLOSED] = {},
};

static_assert(ARRAY_SIZE(states) == KTCP_LIFE_CLOSED + 1);

/**
 * ktcp_life_go() - Take a step
 * @life: of a split
 * @to: the next state
 *
 * A reader that loads the new state with acquire sees all that was written
 * before the step.
 *
 * Context: any.
 * Return: true if this call changed the state.
 */
bool ktcp_life_go(enum ktcp_life *life, enum ktcp_life to)
{
	enum ktcp_life from = READ_ONCE(*life);

	do {
		if (!(states[from].next & BIT(to))) {
			WARN_ONCE(!(states[from].late & BIT(to)),
				  "ktcp: no step leads from state %u to %u\n",
				  from, to);
			return false;
		}
	} while (!try_cmpxchg(life, &from, to));
	return true;
}

/**
 * ktcp_life_is_split() - Is it counted as a split, and listed in procfs?
 * @life: of a split
 */
bool ktcp_life_is_split(enum ktcp_life life)
{
	return ktcp_life_word(life);
}

/**
 * ktcp_life_is_aborted() - Was it aborted, so that it takes no new connection?
 * @life: of a split
 */
bool ktcp_life_is_aborted(enum ktcp_life life)
{
	return BIT(life) & (DROPPED | ABORTED);
}

/**
 * ktcp_life_is_broken() - Will both sides end by RST, or have they?
 * @life: of a split
 */
bool ktcp_life_is_broken(enum ktcp_life life)
{
	return BIT(life) & (BREAKING | DROPPED | ABORTED);
}

/**
 * ktcp_life_word() - The word for a state in procfs
 * @life: of a split
 *
 * Return: the word, NULL if procfs does not list the split.
 */
const char *ktcp_life_word(enum ktcp_life life)
{
	return states[life].word;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Magazines (J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001). Each
 * core has two magazines of objects at hand, under a lock that other cores
 * rarely want; only whole magazines are exchanged with the depot. With two, a
 * core that puts and takes at the edge of one does not go to the depot each
 * time.
 *
 * Unlike an allocator's, these objects cannot be made on the spot. A core that
 * finds neither a round at hand nor a full magazine in the depot looks through
 * the other cores' magazines before it gives up.
 */

#include "lib/magazine.h"

#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>

/* Makes a magazine 128 bytes. */
#define ROUNDS 14

/**
 * struct ktcp_magazine - A stack of objects
 * @next: in a list of the depot
 * @count: number of objects in @round
 * @round: the objects
 */
struct ktcp_magazine {
	struct ktcp_magazine *next;
	unsigned int count;
	void *round[ROUNDS];
};

/**
 * struct ktcp_magazine_cpu - The magazines of one core
 * @lock: contended only when another core finds nothing
 * @loaded: where objects are put and taken; NULL before the first one
 * @previous: the one loaded before, full or empty; NULL if there was none
 */
struct ktcp_magazine_cpu {
	spinlock_t lock; /* protects loaded and previous */
	struct ktcp_magazine *loaded;
	struct ktcp_magazine *previous;
};

/**
 * ktcp_depot_init() - Make an empty depot
 * @depot: filled
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_depot_init(struct ktcp_depot *depot)
{
	int cpu;

	spin_lock_init(&depot->lock);
	depot->full = NULL;
	depot->empty = NULL;
	depot->cpu = alloc_percpu(struct ktcp_magazine_cpu);
	if (!depot->cpu)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		spin_lock_init(&per_cpu_ptr(depot->cpu, cpu)->lock);
	return 0;
}

static void free_all(struct ktcp_magazine *magazine)
{
	struct ktcp_magazine *next;

	for (; magazine; magazine = next) {
		next = magazine->next;
		WARN_ON_ONCE(magazine->count);
		kfree(magazine);
	}
}

/**
 * ktcp_depot_exit() - Free a depot whose objects have all been taken
 * @depot: the depot; nobody uses it any more
 *
 * Context: may sleep.
 */
void ktcp_depot_exit(struct ktcp_depot *depot)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct ktcp_magazine_cpu *hand = per_cpu_ptr(depot->cpu, cpu);

		WARN_ON_ONCE(hand->loaded && hand->loaded->count);
		WARN_ON_ONCE(hand->previous && hand->previous->count);
		kfree(hand->loaded);
		kfree(hand->previous);
	}
	free_percpu(depot->cpu);
	free_all(depot->full);
	free_all(depot->empty);
}

static void magazine_push(struct ktcp_magazine **list,
			  struct ktcp_magazine *magazine)
{
	magazine->next = *list;
	*list = magazine;
}

static struct ktcp_magazine *magazine_pop(struct ktcp_magazine **list)
{
	struct ktcp_magazine *magazine = *list;

	if (magazine)
		*list = magazine->next;
	return magazine;
}

static bool has_room(const struct ktcp_magazine *magazine)
{
	return magazine && magazine->count < ROUNDS;
}

static bool has_round(const struct ktcp_magazine *magazine)
{
	return magazine && magazine->count;
}

/* Exchange the full magazine @old for an empty one; NULL without memory. */
static struct ktcp_magazine *depot_empty_for(struct ktcp_depot *depot,
					     struct ktcp_magazine *old)
{
	struct ktcp_magazine *new;

	spin_lock(&depot->lock);
	new = magazine_pop(&depot->empty);
	if (!new)
		new = kzalloc(sizeof(*new), GFP_ATOMIC | __GFP_NOWARN);
	if (new && old)
		magazine_push(&depot->full, old);
	spin_unlock(&depot->lock);
	return new;
}

/* Exchange the empty magazine @old for a full one; NULL if there is none. */
static struct ktcp_magazine *depot_full_for(struct ktcp_depot *depot,
					    struct ktcp_magazine *old)
{
	struct ktcp_magazine *new;

	/* First look without the lock: most often there is none. */
	if (!READ_ONCE(depot->full))
		return NULL;
	spin_lock(&depot->lock);
	new = magazine_pop(&depot->full);
	if (new && old)
		magazine_push(&depot->empty, old);
	spin_unlock(&depot->lock);
	return new;
}

static bool load_room(struct ktcp_depot *depot, struct ktcp_magazine_cpu *hand)
{
	struct ktcp_magazine *new;

	lockdep_assert_held(&hand->lock);
	if (has_room(hand->loaded))
		return true;
	if (!has_room(hand->previous)) {
		new = depot_empty_for(depot, hand->previous);
		if (!new)
			return false;
		hand->previous = new;
	}
	swap(hand->loaded, hand->previous);
	return true;
}

static bool load_round(struct ktcp_depot *depot, struct ktcp_magazine_cpu *hand)
{
	struct ktcp_magazine *new;

	lockdep_assert_held(&hand->lock);
	if (has_round(hand->loaded))
		return true;
	if (!has_round(hand->previous)) {
		new = depot_full_for(depot, hand->previous);
		if (!new)
			return false;
		hand->previous = new;
	}
	swap(hand->loaded, hand->previous);
	return true;
}

/**
 * ktcp_depot_put() - Put an object into the depot
 * @depot: the depot
 * @object: the object; not NULL
 *
 * Context: any but hard interrupts.
 * Return: 0 or -ENOMEM.
 */
int ktcp_depot_put(struct ktcp_depot *depot, void *object)
{
	struct ktcp_magazine_cpu *hand;
	bool room;

	local_bh_disable();
	hand = this_cpu_ptr(depot->cpu);
	spin_lock(&hand->lock);
	room = load_room(depot, hand);
	if (room)
		hand->loaded->round[hand->loaded->count++] = object;
	spin_unlock(&hand->lock);
	local_bh_enable();
	return room ? 0 : -ENOMEM;
}

static void *take_of(struct ktcp_depot *depot, struct ktcp_magazine_cpu *hand)
{
	void *object = NULL;

	spin_lock(&hand->lock);
	if (load_round(depot, hand))
		object = hand->loaded->round[--hand->loaded->count];
	spin_unlock(&hand->lock);
	return object;
}

/**
 * ktcp_depot_take() - Take an object out of the depot
 * @depot: the depot
 *
 * Most likely it is the one that this core put there last, whose cache is warm.
 *
 * Context: any but hard interrupts.
 * Return: the object, NULL if no core has one.
 */
void *ktcp_depot_take(struct ktcp_depot *depot)
{
	int cpu, here;
	void *object;

	local_bh_disable();
	here = smp_processor_id();
	object = take_of(depot, per_cpu_ptr(depot->cpu, here));
	for_each_possible_cpu(cpu) {
		struct ktcp_magazine_cpu *hand = per_cpu_ptr(depot->cpu, cpu);

		if (object)
			break;
		if (cpu != here && READ_ONCE(hand->loaded))
			object = take_of(depot, hand);
	}
	local_bh_enable();
	return object;
}

static void magazine_sift(struct ktcp_magazine *magazine,
			  ktcp_depot_reject_fn reject, void *arg)
{
	unsigned int i, kept = 0;

	for (i = 0; magazine && i < magazine->count; i++)
		if (!reject(magazine->round[i], arg))
			magazine->round[kept++] = magazine->round[i];
	if (magazine)
		magazine->count = kept;
}

static void sift_full(struct ktcp_depot *depot, ktcp_depot_reject_fn reject,
		      void *arg)
{
	struct ktcp_magazine *magazine, *all;

	spin_lock_bh(&depot->lock);
	all = depot->full;
	depot->full = NULL;
	while ((magazine = magazine_pop(&all))) {
		magazine_sift(magazine, reject, arg);
		magazine_push(magazine->count ? &depot->full : &depot->empty,
			      magazine);
	}
	spin_unlock_bh(&depot->lock);
}

/**
 * ktcp_depot_sift() - Look at all objects, and remove some
 * @depot: the depot
 * @reject: called for each object; if true, the object now belongs to the
 * callee
 * @arg: its second argument
 *
 * An object that moves between cores meanwhile may be missed.
 *
 * Context: any but hard interrupts; @reject must not sleep.
 */
void ktcp_depot_sift(struct ktcp_depot *depot, ktcp_depot_reject_fn reject,
		     void *arg)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct ktcp_magazine_cpu *hand = per_cpu_ptr(depot->cpu, cpu);

		spin_lock_bh(&hand->lock);
		magazine_sift(hand->loaded, reject, arg);
		magazine_sift(hand->previous, reject, arg);
		spin_unlock_bh(&hand->lock);
	}
	sift_full(depot, reject, arg);
}

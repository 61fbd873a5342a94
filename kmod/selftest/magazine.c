// SPDX-License-Identifier: GPL-2.0-only
/*
 * All cores use the magazines at once: no object may be lost, and none may have
 * two owners. This also measures what a take and a put cost, compared with a
 * list under one lock. The module's parameter says how often; the results are
 * in the kernel's log.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "lib/magazine.c"
#include "selftest/selftest.h"

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>

#define OBJECTS 256

static unsigned int rounds = 100000;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often each core takes an object and puts it back");

/**
 * struct object - What is taken and put
 * @node: in the list that the magazines are compared with
 * @owners: how many cores have it
 */
struct object {
	struct list_head node;
	atomic_t owners;
};

/**
 * struct store - One way to keep objects
 * @name: for the log
 * @put: puts an object; returns 0 or -ENOMEM
 * @take: takes any object; returns NULL if there is none
 */
struct store {
	const char *name;
	int (*put)(struct object *object);
	struct object *(*take)(void);
};

static struct object objects[OBJECTS];

static struct ktcp_depot depot;

static int magazine_put(struct object *object)
{
	return ktcp_depot_put(&depot, object);
}

static struct object *magazine_take(void)
{
	return ktcp_depot_take(&depot);
}

static LIST_HEAD(list);
static DEFINE_SPINLOCK(list_lock);

static int list_put(struct object *object)
{
	spin_lock_bh(&list_lock);
	list_add(&object->node, &list);
	spin_unlock_bh(&list_lock);
	return 0;
}

static struct object *list_take(void)
{
	struct object *object;

	spin_lock_bh(&list_lock);
	object = list_first_entry_or_null(&list, struct object, node);
	if (object)
		list_del(&object->node);
	spin_unlock_bh(&list_lock);
	return object;
}

static const struct store stores[] = {
	{ "magazines", magazine_put, magazine_take },
	{ "list", list_put, list_take },
};

/**
 * struct run - Some cores at work
 * @store: the store that they use
 * @go: lets all of them begin
 * @done: completed once by each core that has ended
 * @ns: nanoseconds that they took together
 * @faults: objects that had two owners, or could not be put
 * @misses: takes that found nothing
 */
struct run {
	const struct store *store;
	struct completion go;
	struct completion done;
	atomic64_t ns;
	atomic_t faults;
	atomic_t misses;
};

static void take_and_put(struct run *run)
{
	struct object *object = run->store->take();

	if (!object) {
		atomic_inc(&run->misses);
		return;
	}
	if (atomic_inc_return(&object->owners) != 1)
		atomic_inc(&run->faults);
	atomic_dec(&object->owners);
	if (run->store->put(object))
		atomic_inc(&run->faults);
}

static int core_main(void *arg)
{
	struct run *run = arg;
	unsigned int i;
	u64 begun;

	wait_for_completion(&run->go);
	begun = ktime_get_ns();
	for (i = 0; i < rounds; i++) {
		take_and_put(run);
		if (i % 1024 == 0)
			cond_resched();
	}
	atomic64_add(ktime_get_ns() - begun, &run->ns);
	kthread_complete_and_exit(&run->done, 0);
}

static unsigned int start_cores(struct run *run, unsigned int most)
{
	struct task_struct *task;
	unsigned int started = 0;
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		if (started == most)
			break;
		task = kthread_create(core_main, run, "ktcp_selftest");
		if (IS_ERR(task))
			break;
		kthread_bind(task, cpu);
		wake_up_process(task);
		started++;
	}
	return started;
}

/* Take out all objects, wherever they were left. Returns how many. */
static unsigned int drain(const struct store *store)
{
	unsigned int count = 0;

	while (store->take())
		count++;
	return count;
}

static int run_store(const struct store *store, unsigned int cores)
{
	struct run run = { .store = store };
	unsigned int i, started, left;

	init_completion(&run.go);
	init_completion(&run.done);
	for (i = 0; i < OBJECTS; i++)
		if (store->put(&objects[i]))
			return -ENOMEM;
	started = start_cores(&run, cores);
	complete_all(&run.go);
	for (i = 0; i < started; i++)
		wait_for_completion(&run.done);
	left = drain(store);
	if (started != cores || left != OBJECTS || atomic_read(&run.faults) ||
	    atomic_read(&run.misses)) {
		pr_err("%s: %u of %u cores, %u of %u objects, %d faults, %d misses\n",
		       store->name, started, cores, left, OBJECTS,
		       atomic_read(&run.faults), atomic_read(&run.misses));
		return -EIO;
	}
	pr_info("%s on %u cores: %llu ns for a take and a put\n", store->name,
		cores,
		div_u64(atomic64_read(&run.ns), max(rounds, 1U) * cores));
	return 0;
}

static bool reject_odd(void *object, void *count)
{
	bool odd = ((struct object *)object - objects) % 2;

	*(unsigned int *)count += odd;
	return odd;
}

static int check_sift(void)
{
	unsigned int i, rejected = 0;

	for (i = 0; i < OBJECTS; i++)
		if (ktcp_depot_put(&depot, &objects[i]))
			return -ENOMEM;
	ktcp_depot_sift(&depot, reject_odd, &rejected);
	i = drain(&stores[0]);
	if (rejected == OBJECTS / 2 && i == OBJECTS - OBJECTS / 2)
		return 0;
	pr_err("sift: %u rejected, %u kept\n", rejected, i);
	return -EIO;
}

/**
 * ktcp_selftest_magazine() - Test magazines on all cores at once
 *
 * Context: may sleep.
 * Return: 0, -EIO if objects were lost or had two owners, or -ENOMEM.
 */
int ktcp_selftest_magazine(void)
{
	unsigned int cores, i;
	int err;

	err = ktcp_depot_init(&depot);
	if (err)
		return err;
	err = check_sift();
	for (cores = 1; cores <= num_online_cpus(); cores++)
		for (i = 0; !err && i < ARRAY_SIZE(stores); i++)
			err = run_store(&stores[i], cores);
	drain(&stores[0]);
	ktcp_depot_exit(&depot);
	return err;
}

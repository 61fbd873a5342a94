// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread pool. Making a kernel thread costs about 12 microseconds,
 * sometimes milliseconds (paper, section 3), and cannot be done in softirq. So
 * one manager makes threads ahead of time, on a core of its own if there are
 * several, and a connection only wakes one up.
 *
 * The pool serves all namespaces. Each has limits of its own, but only
 * threads_max bounds the sum. The host's other programs need threads, too, and
 * the kernel counts all of them together.
 */

#include "lib/thread_pool.h"
#include "lib/magazine.h"

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait.h>

#define LOW_DEFAULT 32
#define HIGH_DEFAULT 256
#define RETRY (HZ / 10)
/* By default there are at most so many threads, */
#define MOST (32 << 10)
/* and half of those that the kernel allows by its own rule (kernel/fork.c). */
#define MEMORY_EACH (2 * 8 * THREAD_SIZE)

static unsigned int threads_max;
module_param(threads_max, uint, 0644);
MODULE_PARM_DESC(threads_max,
		 "most threads of all namespaces together (0: by the host's memory)");

/**
 * struct worker - A thread
 * @task: the thread
 * @fn: its work, NULL while it has none
 * @arg: of @fn
 * @pooled: goes back to the pool after its work
 */
struct worker {
	struct task_struct *task;
	ktcp_thread_fn fn;
	void *arg;
	bool pooled;
};

static struct {
	struct ktcp_depot ready; /* workers without work */
	atomic_t nr_ready;
	atomic_t alive; /* counted before it is made, until it ends */
	atomic64_t created;
	atomic64_t ended;
	u32 low;
	u32 high;
	bool closing;
	spinlock_t lock; /* protects jobs */
	struct list_head jobs; /* that found no thread */
	struct task_struct *manager;
	wait_queue_head_t wait; /* for the manager */
	struct completion gone; /* once for each thread that ended */
} pool = {
	.lock = __SPIN_LOCK_UNLOCKED(pool.lock),
	.jobs = LIST_HEAD_INIT(pool.jobs),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(pool.wait),
	.gone = COMPLETION_INITIALIZER(pool.gone),
	.low = LOW_DEFAULT,
	.high = HIGH_DEFAULT,
};

static unsigned int threads_most(void)
{
	unsigned int most = READ_ONCE(threads_max);

	if (most)
		return most;
	return min_t(u64, MOST, (u64)totalram_pages() * PAGE_SIZE / MEMORY_EACH);
}

/* A worker gets this function as work when it has to end. */
static void worker_end(void *unused)
{
}

static void worker_order(struct worker *worker, ktcp_thread_fn fn, void *arg)
{
	struct task_struct *task = worker->task;

	worker->arg = arg;
	/* It may run and end before we wake it, but RCU keeps the task. */
	rcu_read_lock();
	/* Pairs with worker_wait(). */
	smp_store_release(&worker->fn, fn);
	wake_up_process(task);
	rcu_read_unlock();
}

/* Give work to a ready thread. False if there is none. */
static bool pool_order(ktcp_thread_fn fn, void *arg)
{
	struct worker *worker = ktcp_depot_take(&pool.ready);

	if (!worker)
		return false;
	atomic_dec(&pool.nr_ready);
	worker_order(worker, fn, arg);
	return true;
}

/* Make a worker available that is already counted as ready. */
static int pool_keep(struct worker *worker)
{
	int err = ktcp_depot_put(&pool.ready, worker);

	if (err)
		atomic_dec(&pool.nr_ready);
	return err;
}

/* Count an idle worker as ready, and make it available. */
static int pool_put(struct worker *worker)
{
	atomic_inc(&pool.nr_ready);
	return pool_keep(worker);
}

/* The job that has waited longest, if it may run in a thread of the pool. */
static struct ktcp_job *pooled_job(void)
{
	struct ktcp_job *job;

	if (list_empty_careful(&pool.jobs))
		return NULL;
	spin_lock_bh(&pool.lock);
	job = list_first_entry_or_null(&pool.jobs, struct ktcp_job, node);
	if (job && job->pooled)
		list_del(&job->node);
	else
		job = NULL;
	spin_unlock_bh(&pool.lock);
	return job;
}

/*
 * Count one more worker as ready, up to the high mark. Checking and counting
 * are one step: of two workers that come back at once only one gets the last
 * place.
 */
static bool pool_has_room(void)
{
	if (atomic_inc_return(&pool.nr_ready) <= (int)READ_ONCE(pool.high))
		return true;
	atomic_dec(&pool.nr_ready);
	return false;
}

/* Make a worker wait for work. False if it has to end. */
static bool worker_park(struct worker *worker)
{
	struct ktcp_job *job;

	if (!worker->pooled || worker->fn == worker_end)
		return false;
	job = pooled_job();
	if (job) {
		worker->arg = job->arg;
		worker->fn = job->fn;
		return true;
	}
	if (!pool_has_room())
		return false;
	worker->fn = NULL;
	if (pool_keep(worker))
		return false;
	/* Pairs with ktcp_thread_pool_exit(): one of them ends the worker. */
	smp_mb();
	if (READ_ONCE(pool.closing))
		pool_order(worker_end, NULL);
	return true;
}

static void worker_wait(struct worker *worker)
{
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		/* Pairs with worker_order(): arg is there when fn is. */
		if (smp_load_acquire(&worker->fn))
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

static int worker_main(void *data)
{
	struct worker *worker = data;

	do {
		worker_wait(worker);
		worker->fn(worker->arg);
	} while (worker_park(worker));
	atomic64_inc(&pool.ended);
	atomic_dec(&pool.alive);
	kfree(worker);
	/* Ends outside of this module's text, which may be freed at once. */
	kthread_complete_and_exit(&pool.gone, 0);
}

/* Make a thread that is counted already. */
static int worker_start(ktcp_thread_fn fn, void *arg, bool pooled)
{
	struct worker *worker = kzalloc(sizeof(*worker), GFP_KERNEL);
	struct task_struct *task;

	if (!worker)
		return -ENOMEM;
	worker->fn = fn;
	worker->arg = arg;
	worker->pooled = pooled;
	task = kthread_create(worker_main, worker, "ktcp");
	if (IS_ERR(task)) {
		kfree(worker);
		return -ENOMEM;
	}
	worker->task = task;
	atomic64_inc(&pool.created);
	/* A worker with work may be gone after this. */
	wake_up_process(task);
	if (!fn && pool_put(worker))
		worker_order(worker, worker_end, NULL);
	return 0;
}

/*
 * Make a thread that starts with @fn, or becomes ready if @fn is NULL. Fails
 * with -EAGAIN if there are as many as there may be.
 */
static int worker_create(ktcp_thread_fn fn, void *arg, bool pooled)
{
	int err = -EAGAIN;

	if ((u32)atomic_inc_return(&pool.alive) <= threads_most())
		err = worker_start(fn, arg, pooled);
	if (err)
		atomic_dec(&pool.alive);
	return err;
}

/* Run @fn in a new thread; if there may be no more, in one that is ready. */
static int run_in_worker(ktcp_thread_fn fn, void *arg, bool pooled)
{
	int err = worker_create(fn, arg, pooled);

	return err == -EAGAIN && pool_order(fn, arg) ? 0 : err;
}

/**
 * ktcp_thread_pool_take() - Run a function in a ready thread
 * @fn: the function; may sleep for as long as it likes
 * @arg: its argument
 *
 * Context: any, softirq included.
 * Return: 0, or -EAGAIN when no thread is ready.
 */
int ktcp_thread_pool_take(ktcp_thread_fn fn, void *arg)
{
	bool taken = pool_order(fn, arg);

	if (atomic_read(&pool.nr_ready) < (int)READ_ONCE(pool.low))
		wake_up(&pool.wait);
	return taken ? 0 : -EAGAIN;
}

/**
 * ktcp_thread_pool_run() - Run a function in a thread, a new one if need be
 * @pooled: take a thread from the pool if there is one; else make one
 * @fn: the function
 * @arg: its argument
 *
 * Context: may sleep.
 * Return: 0, -ENOMEM, or -EAGAIN if there are threads_max and all are busy.
 */
int ktcp_thread_pool_run(bool pooled, ktcp_thread_fn fn, void *arg)
{
	might_sleep();
	if (pooled && !ktcp_thread_pool_take(fn, arg))
		return 0;
	return run_in_worker(fn, arg, pooled);
}

/**
 * ktcp_thread_pool_post() - Run a job as soon as there is a thread for it
 * @job: with fn, arg and pooled set; not touched once fn runs
 *
 * Context: any, softirq included.
 */
void ktcp_thread_pool_post(struct ktcp_job *job)
{
	if (job->pooled && pool_order(job->fn, job->arg))
		return;
	spin_lock_bh(&pool.lock);
	list_add_tail(&job->node, &pool.jobs);
	spin_unlock_bh(&pool.lock);
	/* A thread may have become ready meanwhile: let the manager look. */
	wake_up(&pool.wait);
}

static int start_job(const struct ktcp_job *job)
{
	if (job->pooled && pool_order(job->fn, job->arg))
		return 0;
	return run_in_worker(job->fn, job->arg, job->pooled);
}

/* Give each waiting job a thread. False if there is none now. */
static bool start_jobs(void)
{
	struct ktcp_job *job;

	for (;;) {
		spin_lock_bh(&pool.lock);
		job = list_first_entry_or_null(&pool.jobs, struct ktcp_job,
					       node);
		if (job)
			list_del(&job->node);
		spin_unlock_bh(&pool.lock);
		if (!job)
			return true;
		if (start_job(job)) {
			spin_lock_bh(&pool.lock);
			list_add(&job->node, &pool.jobs);
			spin_unlock_bh(&pool.lock);
			return false;
		}
	}
}

static int pool_missing(void)
{
	return (int)READ_ONCE(pool.low) - atomic_read(&pool.nr_ready);
}

static int pool_surplus(void)
{
	return atomic_read(&pool.nr_ready) - (int)READ_ONCE(pool.high);
}

static void pool_shrink(int surplus)
{
	while (surplus-- > 0 && pool_order(worker_end, NULL))
		;
}

/* Fill the pool up. False if no thread can be made now: try again later. */
static bool pool_fill(void)
{
	if (!start_jobs())
		return false;
	while (pool_missing() > 0 && !kthread_should_stop()) {
		if (worker_create(NULL, NULL, true))
			return false;
		/* Jobs go first: each is somebody's connection. */
		if (!start_jobs())
			return false;
		cond_resched();
	}
	return true;
}

static bool manager_is_needed(void)
{
	return kthread_should_stop() || !list_empty_careful(&pool.jobs) ||
	       pool_missing() > 0 || pool_surplus() > 0;
}

static int manager_main(void *unused)
{
	while (!kthread_should_stop()) {
		wait_event_interruptible(pool.wait, manager_is_needed());
		pool_shrink(pool_surplus());
		if (!pool_fill())
			schedule_timeout_interruptible(RETRY);
	}
	return 0;
}

static unsigned int last_online_cpu(void)
{
	unsigned int cpu, last = 0;

	for_each_online_cpu(cpu)
		last = cpu;
	return last;
}

/**
 * ktcp_thread_pool_init() - Start the manager, which fills the pool
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_thread_pool_init(void)
{
	int err;

	err = ktcp_depot_init(&pool.ready);
	if (err)
		return err;
	pool.manager = kthread_create(manager_main, NULL, "ktcp_manager");
	if (IS_ERR(pool.manager)) {
		ktcp_depot_exit(&pool.ready);
		return PTR_ERR(pool.manager);
	}
	/* Not bound for ever: when the core goes offline, the manager moves. */
	set_cpus_allowed_ptr(pool.manager, cpumask_of(last_online_cpu()));
	wake_up_process(pool.manager);
	return 0;
}

/**
 * ktcp_thread_pool_exit() - End all threads and wait until they have
 *
 * No work may run any more, and none may come.
 *
 * Context: may sleep.
 */
void ktcp_thread_pool_exit(void)
{
	s64 threads;

	kthread_stop(pool.manager);
	WRITE_ONCE(pool.closing, true);
	/* Pairs with worker_park(). */
	smp_mb();
	while (pool_order(worker_end, NULL))
		;
	threads = atomic64_read(&pool.created);
	/* Each thread that ever ran has completed once, also old ones. */
	while (threads--)
		wait_for_completion(&pool.gone);
	ktcp_depot_exit(&pool.ready);
}

/**
 * ktcp_thread_pool_marks() - The watermarks in force
 * @marks: filled
 *
 * Context: any.
 */
void ktcp_thread_pool_marks(struct ktcp_thread_marks *marks)
{
	marks->low = READ_ONCE(pool.low);
	marks->high = READ_ONCE(pool.high);
}

/**
 * ktcp_thread_pool_set_marks() - Keep other numbers of threads ready
 * @marks: low not above high
 *
 * Context: any.
 */
void ktcp_thread_pool_set_marks(const struct ktcp_thread_marks *marks)
{
	WRITE_ONCE(pool.low, marks->low);
	WRITE_ONCE(pool.high, marks->high);
	wake_up(&pool.wait);
}

/**
 * ktcp_thread_pool_counts() - How many threads there are and have been
 * @counts: filled
 *
 * Context: any.
 */
void ktcp_thread_pool_counts(struct ktcp_thread_counts *counts)
{
	/* Read in this order, no difference of the counts is negative. */
	counts->ended = atomic64_read(&pool.ended);
	counts->ready = atomic_read(&pool.nr_ready);
	counts->created = atomic64_read(&pool.created);
	counts->most = threads_most();
}

/**
 * ktcp_thread_pool_is_full() - Are nearly as many threads busy as there may be?
 *
 * The last eighth is for what has begun already.
 *
 * Context: any.
 */
bool ktcp_thread_pool_is_full(void)
{
	unsigned int most = threads_most();
	int busy = atomic_read(&pool.alive) - atomic_read(&pool.nr_ready);

	return busy >= (int)(most - most / 8);
}

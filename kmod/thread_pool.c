// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread pool. Making a kernel thread costs about 12 microseconds and now
 * and then some milliseconds (paper, section 3), and cannot be done in
 * softirq. So one manager makes them ahead of time, on a core of its own
 * where there is more than one, and a connection only wakes one up.
 *
 * The pool serves all namespaces.
 */

#include "thread_pool.h"
#include "command.h"
#include "net.h"
#include "procfs.h"

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait.h>

#define LOW_DEFAULT 32
#define HIGH_DEFAULT 256
#define MARK_MAX 65536
#define RETRY (HZ / 10)

/**
 * struct worker - A thread
 * @ready: in pool.ready while it waits for work
 * @task: the thread
 * @fn: its work, NULL while it has none
 * @arg: of @fn
 * @pooled: goes back to the pool after its work
 */
struct worker {
	struct list_head ready;
	struct task_struct *task;
	ktcp_thread_fn fn;
	void *arg;
	bool pooled;
};

static struct {
	spinlock_t lock; /* protects all but manager, wait and gone */
	struct list_head ready;
	struct list_head jobs; /* that found no thread */
	u32 nr_ready;
	u32 nr_busy;
	u32 low;
	u32 high;
	u64 created;
	u64 ended;
	bool closing;
	struct task_struct *manager;
	wait_queue_head_t wait; /* where the manager waits */
	struct completion gone; /* once for each thread that ended */
} pool = {
	.lock = __SPIN_LOCK_UNLOCKED(pool.lock),
	.ready = LIST_HEAD_INIT(pool.ready),
	.jobs = LIST_HEAD_INIT(pool.jobs),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(pool.wait),
	.gone = COMPLETION_INITIALIZER(pool.gone),
	.low = LOW_DEFAULT,
	.high = HIGH_DEFAULT,
};

/* An order to end, given like work. */
static void worker_end(void *unused)
{
}

/* The job that waits for longest, if it takes a thread of the pool. */
static struct ktcp_job *pooled_job(void)
{
	struct ktcp_job *job;

	lockdep_assert_held(&pool.lock);
	job = list_first_entry_or_null(&pool.jobs, struct ktcp_job, node);
	if (!job || !job->pooled)
		return NULL;
	list_del(&job->node);
	return job;
}

/* False: the worker has to end. */
static bool worker_park(struct worker *worker)
{
	struct ktcp_job *job;
	bool stay;

	spin_lock_bh(&pool.lock);
	stay = worker->pooled && worker->fn != worker_end && !pool.closing;
	job = stay ? pooled_job() : NULL;
	if (job) {
		worker->arg = job->arg;
		worker->fn = job->fn;
		spin_unlock_bh(&pool.lock);
		return true;
	}
	pool.nr_busy--;
	stay = stay && pool.nr_ready < pool.high;
	if (stay) {
		WRITE_ONCE(worker->fn, NULL);
		/* The one used last has the warmest cache. */
		list_add(&worker->ready, &pool.ready);
		pool.nr_ready++;
	} else {
		pool.ended++;
	}
	spin_unlock_bh(&pool.lock);
	return stay;
}

static void worker_wait(struct worker *worker)
{
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		/* Pairs with pool_wake(): arg is there when fn is. */
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
	kfree(worker);
	/* Ends outside of this module's text, which may go at once. */
	kthread_complete_and_exit(&pool.gone, 0);
}

/* A new thread, which starts with @fn; NULL: it becomes ready. */
static int worker_create(ktcp_thread_fn fn, void *arg, bool pooled)
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
		return PTR_ERR(task);
	}
	worker->task = task;

	spin_lock_bh(&pool.lock);
	pool.created++;
	if (fn) {
		pool.nr_busy++;
	} else {
		list_add(&worker->ready, &pool.ready);
		pool.nr_ready++;
	}
	/* Under the lock, as in pool_wake(): it cannot end meanwhile. */
	wake_up_process(task);
	spin_unlock_bh(&pool.lock);
	return 0;
}

/* Give work to a ready thread. */
static bool pool_wake(ktcp_thread_fn fn, void *arg)
{
	struct worker *worker;

	lockdep_assert_held(&pool.lock);
	worker = list_first_entry_or_null(&pool.ready, struct worker, ready);
	if (!worker)
		return false;
	list_del(&worker->ready);
	pool.nr_ready--;
	pool.nr_busy++;
	worker->arg = arg;
	/* Pairs with worker_wait(). */
	smp_store_release(&worker->fn, fn);
	/*
	 * It may run before this, but to end it needs the lock that is held
	 * here, so the task is still there.
	 */
	wake_up_process(worker->task);
	return true;
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
	bool taken, short_of;

	spin_lock_bh(&pool.lock);
	taken = pool_wake(fn, arg);
	short_of = pool.nr_ready < pool.low;
	spin_unlock_bh(&pool.lock);
	if (short_of)
		wake_up(&pool.wait);
	return taken ? 0 : -EAGAIN;
}

/**
 * ktcp_thread_pool_run() - Run a function in a thread, a new one if need be
 * @pooled: take it from the pool, else always make one
 * @fn: the function
 * @arg: its argument
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_thread_pool_run(bool pooled, ktcp_thread_fn fn, void *arg)
{
	might_sleep();
	if (pooled && !ktcp_thread_pool_take(fn, arg))
		return 0;
	return worker_create(fn, arg, pooled);
}

/**
 * ktcp_thread_pool_post() - Run a job as soon as there is a thread for it
 * @job: fn, arg and pooled are set; not touched once fn runs
 *
 * Context: any, softirq included.
 */
void ktcp_thread_pool_post(struct ktcp_job *job)
{
	bool taken;

	spin_lock_bh(&pool.lock);
	taken = job->pooled && pool_wake(job->fn, job->arg);
	if (!taken)
		list_add_tail(&job->node, &pool.jobs);
	spin_unlock_bh(&pool.lock);
	if (!taken)
		wake_up(&pool.wait);
}

/* A new thread for each job that found none. False: no memory. */
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
		if (worker_create(job->fn, job->arg, job->pooled)) {
			spin_lock_bh(&pool.lock);
			list_add(&job->node, &pool.jobs);
			spin_unlock_bh(&pool.lock);
			return false;
		}
	}
}

static int pool_missing(void)
{
	return (int)READ_ONCE(pool.low) - (int)READ_ONCE(pool.nr_ready);
}

static int pool_surplus(void)
{
	return (int)READ_ONCE(pool.nr_ready) - (int)READ_ONCE(pool.high);
}

static void pool_shrink(int surplus)
{
	spin_lock_bh(&pool.lock);
	while (surplus-- > 0 && pool_wake(worker_end, NULL))
		;
	spin_unlock_bh(&pool.lock);
}

/* False: no memory now, try again later. */
static bool pool_fill(void)
{
	if (!start_jobs())
		return false;
	while (pool_missing() > 0 && !kthread_should_stop()) {
		if (worker_create(NULL, NULL, true))
			return false;
		/* Jobs are somebody's connection and go first. */
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
	pool.manager = kthread_create(manager_main, NULL, "ktcp_manager");
	if (IS_ERR(pool.manager))
		return PTR_ERR(pool.manager);
	/* Not bound for good: when the core goes offline, it moves. */
	set_cpus_allowed_ptr(pool.manager, cpumask_of(last_online_cpu()));
	wake_up_process(pool.manager);
	return 0;
}

/**
 * ktcp_thread_pool_exit() - End all threads and wait until they have
 *
 * No work runs any more and none comes.
 *
 * Context: may sleep.
 */
void ktcp_thread_pool_exit(void)
{
	u64 threads;

	kthread_stop(pool.manager);
	spin_lock_bh(&pool.lock);
	pool.closing = true;
	while (pool_wake(worker_end, NULL))
		;
	threads = pool.created;
	spin_unlock_bh(&pool.lock);
	/* Each thread that ever ran completes once, also those long gone. */
	while (threads--)
		wait_for_completion(&pool.gone);
}

static int thread_pool_show(struct seq_file *seq, void *unused)
{
	spin_lock_bh(&pool.lock);
	seq_printf(seq, "low %u\nhigh %u\n# ready %u\n# busy %u\n", pool.low,
		   pool.high, pool.nr_ready, pool.nr_busy);
	seq_printf(seq, "# created %llu\n# ended %llu\n", pool.created,
		   pool.ended);
	spin_unlock_bh(&pool.lock);
	return 0;
}

struct marks {
	u32 value[2]; /* low, high */
};

static void *marks_begin(struct ktcp_net *ktcp)
{
	struct marks *draft = kmalloc(sizeof(*draft), GFP_KERNEL);

	if (draft) {
		draft->value[0] = READ_ONCE(pool.low);
		draft->value[1] = READ_ONCE(pool.high);
	}
	return draft;
}

static int marks_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const names[] = { "low", "high" };
	struct marks *marks = *draft;
	int which = ktcp_command_choice(cmd, names, ARRAY_SIZE(names));

	if (which < 0)
		return which;
	return ktcp_command_u32(cmd, names[which], 1, MARK_MAX,
				&marks->value[which]) ?:
	       ktcp_command_end(cmd);
}

static int marks_commit(struct ktcp_command *cmd, void *draft)
{
	struct marks marks = *(struct marks *)draft;

	kfree(draft);
	if (marks.value[0] > marks.value[1])
		return ktcp_command_fail(cmd, "low", -ERANGE,
					 "low %u is above high %u",
					 marks.value[0], marks.value[1]);
	spin_lock_bh(&pool.lock);
	WRITE_ONCE(pool.low, marks.value[0]);
	WRITE_ONCE(pool.high, marks.value[1]);
	spin_unlock_bh(&pool.lock);
	wake_up(&pool.wait);
	return 0;
}

static void marks_abandon(struct ktcp_net *ktcp, void *draft)
{
	kfree(draft);
}

const struct ktcp_proc_file ktcp_thread_pool_file = {
	.name = "thread_pool",
	.mode = 0600,
	.module_wide = true,
	.show = thread_pool_show,
	.begin = marks_begin,
	.line = marks_line,
	.commit = marks_commit,
	.abandon = marks_abandon,
};

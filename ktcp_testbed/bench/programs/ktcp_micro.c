// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kernel threads cost: to make one, and to switch between two.
 *
 * All is measured while the module is loaded and told to the log; then loading
 * fails on purpose, so that nothing has to be unloaded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>

#define CREATIONS 500
#define ROUNDS 5000

/* Two threads that hand a token to each other. */
struct pair {
	struct completion ping;
	struct completion pong;
};

static int idle(void *unused)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static int answer(void *data)
{
	struct pair *pair = data;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		wait_for_completion(&pair->ping);
		complete(&pair->pong);
	}
	return idle(NULL);
}

static int measure_creation(void)
{
	struct task_struct *task;
	u64 spent = 0;
	ktime_t begun;
	int count;

	for (count = 0; count < CREATIONS; count++) {
		begun = ktime_get();
		task = kthread_run(idle, NULL, "ktcp_micro");
		spent += ktime_to_ns(ktime_sub(ktime_get(), begun));
		if (IS_ERR(task))
			return PTR_ERR(task);
		kthread_stop(task);
	}
	pr_info("create_kthread %llu\n", spent / CREATIONS);
	return 0;
}

static int measure_switch(void)
{
	struct task_struct *task;
	struct pair pair;
	ktime_t begun;
	u64 spent;
	int round;

	init_completion(&pair.ping);
	init_completion(&pair.pong);
	task = kthread_run(answer, &pair, "ktcp_micro");
	if (IS_ERR(task))
		return PTR_ERR(task);
	begun = ktime_get();
	for (round = 0; round < ROUNDS; round++) {
		complete(&pair.ping);
		wait_for_completion(&pair.pong);
	}
	spent = ktime_to_ns(ktime_sub(ktime_get(), begun));
	kthread_stop(task);
	/* Each round switches there and back. */
	pr_info("switch_kthread %llu\n", spent / (2 * ROUNDS));
	return 0;
}

/* The loader is a process, but without a switch of address spaces to a kthread. */
static int __init ktcp_micro_init(void)
{
	int err = measure_creation() ?: measure_switch();

	return err ?: -EAGAIN;
}
module_init(ktcp_micro_init);

MODULE_DESCRIPTION("What kernel threads cost");
MODULE_LICENSE("GPL");

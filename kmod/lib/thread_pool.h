/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel threads that are ready before they are needed. */
#ifndef KTCP_THREAD_POOL_H
#define KTCP_THREAD_POOL_H

#include <linux/list.h>
#include <linux/types.h>

struct ktcp_proc_file;

typedef void (*ktcp_thread_fn)(void *arg);

/**
 * struct ktcp_job - Work that may have to wait for a thread
 * @node: while it waits
 * @fn: the work
 * @arg: of @fn
 * @pooled: for a thread of the pool, else for one of its own
 */
struct ktcp_job {
	struct list_head node;
	ktcp_thread_fn fn;
	void *arg;
	bool pooled;
};

int ktcp_thread_pool_init(void);
void ktcp_thread_pool_exit(void);

int ktcp_thread_pool_take(ktcp_thread_fn fn, void *arg);
int ktcp_thread_pool_run(bool pooled, ktcp_thread_fn fn, void *arg);
void ktcp_thread_pool_post(struct ktcp_job *job);

extern const struct ktcp_proc_file ktcp_thread_pool_file;

#endif /* KTCP_THREAD_POOL_H */

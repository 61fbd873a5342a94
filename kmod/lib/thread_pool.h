/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel threads that are ready before they are needed. */
#ifndef KTCP_THREAD_POOL_H
#define KTCP_THREAD_POOL_H

#include <linux/list.h>
#include <linux/types.h>

typedef void (*ktcp_thread_fn)(void *arg);

/**
 * struct ktcp_job - Work that may have to wait for a thread
 * @node: in the list of waiting jobs
 * @fn: the work
 * @arg: of @fn
 * @pooled: may run in a thread of the pool, else needs one of its own
 */
struct ktcp_job {
	struct list_head node;
	ktcp_thread_fn fn;
	void *arg;
	bool pooled;
};

/**
 * struct ktcp_thread_marks - How many threads are kept ready
 * @low: below this the manager makes more
 * @high: at this many, threads that finish their work end
 */
struct ktcp_thread_marks {
	u32 low;
	u32 high;
};

/**
 * struct ktcp_thread_counts - Threads of the pool, since the module was loaded
 * @ready: threads without work now
 * @created: threads made
 * @ended: of them, threads that have ended
 * @most: how many there may be at once
 */
struct ktcp_thread_counts {
	int ready;
	s64 created;
	s64 ended;
	u32 most;
};

int ktcp_thread_pool_init(void);
void ktcp_thread_pool_exit(void);

int ktcp_thread_pool_take(ktcp_thread_fn fn, void *arg);
int ktcp_thread_pool_run(bool pooled, ktcp_thread_fn fn, void *arg);
void ktcp_thread_pool_post(struct ktcp_job *job);
void ktcp_thread_pool_marks(struct ktcp_thread_marks *marks);
void ktcp_thread_pool_set_marks(const struct ktcp_thread_marks *marks);
void ktcp_thread_pool_counts(struct ktcp_thread_counts *counts);
bool ktcp_thread_pool_is_full(void);

#endif /* KTCP_THREAD_POOL_H */

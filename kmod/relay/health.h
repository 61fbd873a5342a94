/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether flows may be sent over a peer. */
#ifndef KTCP_HEALTH_H
#define KTCP_HEALTH_H

#include "lib/callbacks.h"

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct ktcp_net;
struct ktcp_peer_pool;
struct sock;
struct socket;

enum ktcp_health_state {
	KTCP_HEALTH_UP, /* taken, as is one that was never tried */
	KTCP_HEALTH_DOWN, /* passed over */
	KTCP_HEALTH_RECOVERING, /* answers again, for too short a time yet */
};

/* How far the watched connection is. */
enum ktcp_health_watch {
	KTCP_WATCH_NONE, /* there is none; retry_at says when to try */
	KTCP_WATCH_CONNECTING, /* its callback tells */
	KTCP_WATCH_KEPT, /* it has proved the key and waits for its end */
};

/**
 * struct ktcp_health - Health of one peer, a part of its pool
 * @sock: the watched connection
 * @closing: nothing is begun any more
 * @state: read by whoever chooses a path; what follows is the work's alone
 * @watch: enum ktcp_health_watch
 * @strikes: what went wrong since the peer last proved its key
 * @known: it has proved it before
 * @since: jiffies of the last change of @state
 * @pause_ms: pause after the next failure
 * @retry_at: jiffies before which no connection is tried
 * @own: the socket's own callbacks
 * @doubted: something else failed, so a new connection has to tell
 * @changed: tells of a new @state
 * @ended: tells of the end of a connection that was kept
 * @work: does all of it
 */
struct ktcp_health {
	spinlock_t lock; /* protects sock while it changes, and closing */
	struct socket *sock;
	bool closing;
	enum ktcp_health_state state;
	enum ktcp_health_watch watch;
	unsigned int strikes;
	bool known;
	unsigned long since;
	u32 pause_ms;
	unsigned long retry_at;
	struct ktcp_callbacks own;
	bool doubted;
	void (*changed)(struct ktcp_health *health);
	void (*ended)(struct ktcp_health *health);
	struct delayed_work work;
};

void ktcp_health_on_loss(void (*fn)(struct ktcp_net *ktcp,
				    const struct ktcp_peer_pool *pool));
void ktcp_health_init(struct ktcp_health *health,
		      void (*changed)(struct ktcp_health *health),
		      void (*ended)(struct ktcp_health *health));
unsigned long ktcp_health_jitter(u32 ms);
void ktcp_health_kick(struct ktcp_health *health);
void ktcp_health_doubt(struct ktcp_health *health);
void ktcp_health_close(struct ktcp_health *health);
const char *ktcp_health_name(enum ktcp_health_state state);

#endif /* KTCP_HEALTH_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/* Says whether flows may be sent over a peer. */
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
	KTCP_HEALTH_UP, /* used; so is a peer that was never tried */
	KTCP_HEALTH_DOWN, /* not used */
	KTCP_HEALTH_RECOVERING, /* answers again, but not for long enough yet */
};

/* What state the watched connection is in. */
enum ktcp_health_watch {
	KTCP_WATCH_NONE, /* there is none; retry_at says when to try */
	KTCP_WATCH_CONNECTING, /* its callback tells when that is over */
	KTCP_WATCH_KEPT, /* it has proved the key, and stays open */
};

/**
 * struct ktcp_health - Health of one peer, a part of its pool
 * @sock: the watched connection
 * @closing: no new connection is tried
 * @state: read to choose a path; only the work writes this and what follows, up
 * to @retry_at
 * @watch: enum ktcp_health_watch
 * @strikes: failures since the peer last proved its key
 * @known: the peer has proved its key before
 * @since: jiffies of the last change of @state
 * @pause_ms: pause after the next failure
 * @retry_at: jiffies before which no connection is tried
 * @own: the socket's own callbacks
 * @doubted: something else failed, so a new connection has to show if it lives
 * @changed: called after each change of @state
 * @ended: called when a connection that was kept has ended
 * @work: does all of this
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

/* SPDX-License-Identifier: GPL-2.0-only */
/* All state of one network namespace. */
#ifndef KTCP_NET_H
#define KTCP_NET_H

#include "control/command.h"
#include "control/settings.h"
#include "lib/recall.h"
#include "lib/share.h"

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/siphash.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

struct ktcp_capture;
struct ktcp_rendezvous;
struct ktcp_stats;
struct ktcp_table;
struct ktcp_ticket_issuer;
struct proc_dir_entry;

/**
 * struct ktcp_net - KTCP in one network namespace
 * @net: the namespace
 * @settings: settings in force
 * @keys: struct ktcp_key
 * @peers: struct ktcp_peer
 * @routes: struct ktcp_route, by mark
 * @exits: rules in order
 * @listeners: struct ktcp_listener
 * @stats: counters, one set for each CPU
 * @splits: all splits
 * @split_count: length of @splits; the namespace can go when it is 0
 * @active: of them, those that carry or will carry a stream
 * @rendezvous: halves that wait for their client
 * @halves: number of halves in @rendezvous
 * @half_share: number of halves of each client prefix
 * @split_share: number of splits of each client prefix
 * @prefix_key: key of the hash by which prefixes are counted
 * @sweep: ends halves whose client never came
 * @tickets: given to other relays
 * @crowded: max_splits was nearly reached, new flows pass unsplit
 * @draining: new flows pass unsplit on request
 * @closing: the namespace goes, no new split may start
 * @withdrawals: how often a relay listener was closed
 * @handshakes: number of connections of relays that have not proved a key yet
 * @strangers: of them, those of strangers, from whose address no key was proved
 * lately
 * @stranger_share: number of strangers' handshakes of each prefix
 * @known: addresses from which a key was proved lately
 * @refused: targets that refused lately, see refusal.c
 * @gate_users: client listeners that need the gate
 * @redirect_users: of them, those whose flows come by REDIRECT
 * @proc_dir: /proc/net/ktcp
 * @last_error: why the last refused write was refused
 * @capture: takes flows without conntrack, NULL until a listener needs it
 */
struct ktcp_net {
	struct net *net;
	struct ktcp_settings settings;
	struct ktcp_table __rcu *keys;
	struct ktcp_table __rcu *peers;
	struct ktcp_table __rcu *routes;
	struct ktcp_table __rcu *exits;
	struct ktcp_table __rcu *listeners;
	struct ktcp_stats __percpu *stats;
	struct list_head splits;
	spinlock_t splits_lock; /* protects splits, closing and withdrawals */
	atomic_t split_count;
	atomic_t active;
	struct ktcp_rendezvous __percpu *rendezvous;
	atomic_t halves;
	struct ktcp_share half_share;
	struct ktcp_share split_share;
	siphash_key_t prefix_key;
	struct delayed_work sweep;
	struct ktcp_ticket_issuer *tickets;
	bool crowded;
	bool draining;
	bool closing;
	unsigned int withdrawals;
	atomic_t handshakes;
	atomic_t strangers;
	struct ktcp_share stranger_share;
	struct ktcp_recall known;
	struct ktcp_recall refused;
	unsigned int gate_users;
	unsigned int redirect_users;
	struct proc_dir_entry *proc_dir;
	struct mutex config_lock; /* serialises writers of all of the above */
	char last_error[KTCP_ERROR_MAX];
	struct ktcp_capture __rcu *capture;
};

/* Finds our state in each namespace; set when main.c registers. */
extern unsigned int ktcp_net_id;

struct ktcp_net *ktcp_net_of(struct net *net);

#endif /* KTCP_NET_H */

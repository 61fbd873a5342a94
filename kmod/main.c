// SPDX-License-Identifier: GPL-2.0-only
/*
 * KTCP splits TCP connections at relays. Loading it changes nothing; each
 * network namespace is configured by its own /proc/net/ktcp.
 */

#include "control/net.h"
#include "control/procfs.h"
#include "control/settings.h"
#include "control/stats.h"
#include "control/table.h"
#include "control/thread_marks.h"
#include "control/version.h"
#include "datapath/framed.h"
#include "datapath/split.h"
#include "datapath/transfer.h"
#include "datapath/watch.h"
#include "intercept/capture.h"
#include "intercept/early_syn.h"
#include "intercept/listener.h"
#include "lib/thread_pool.h"
#include "relay/health.h"
#include "relay/key.h"
#include "relay/peer.h"
#include "relay/route.h"
#include "relay/ticket_issuer.h"
#include "session/exit.h"
#include "session/rendezvous.h"
#include "session/session.h"

#include <linux/module.h>

static const struct ktcp_proc_file *const files[] = {
	&ktcp_version_file,
	&ktcp_settings_file,
	&ktcp_thread_pool_file,
	&ktcp_listeners_file,
	&ktcp_peers_file,
	&ktcp_routes_file,
	&ktcp_exits_file,
	&ktcp_keys_file,
	&ktcp_drain_file,
	&ktcp_splits_file,
	&ktcp_stats_file,
	&ktcp_last_error_file,
	NULL,
};

/* For those that do not read the settings each time they need one. */
static void apply_settings(struct ktcp_net *ktcp)
{
	ktcp_listener_tune_all(ktcp);
	ktcp_peer_kick_all(ktcp);
}

static int __net_init net_init(struct net *net)
{
	struct ktcp_net *ktcp = ktcp_net_of(net);
	int err;

	ktcp->net = net;
	mutex_init(&ktcp->config_lock);
	spin_lock_init(&ktcp->splits_lock);
	INIT_LIST_HEAD(&ktcp->splits);
	ktcp_settings_init(&ktcp->settings);
	ktcp_early_syn_init(ktcp);
	ktcp_recall_init(&ktcp->known);
	ktcp_recall_init(&ktcp->refused);
	err = ktcp_ticket_issuer_init(ktcp);
	if (err)
		return err;
	err = ktcp_stats_init(ktcp);
	if (err)
		goto exit_issuer;
	err = ktcp_rendezvous_init(ktcp);
	if (err)
		goto exit_stats;
	err = ktcp_procfs_init(ktcp);
	if (err)
		goto exit_rendezvous;
	return 0;

exit_rendezvous:
	ktcp_rendezvous_exit(ktcp);
exit_stats:
	ktcp_stats_exit(ktcp);
exit_issuer:
	ktcp_ticket_issuer_exit(ktcp);
	return err;
}

static void __net_exit net_pre_exit(struct net *net)
{
	ktcp_capture_exit(ktcp_net_of(net));
}

/*
 * First writers go, then new flows, then splits; after that nobody reads the
 * tables. When a namespace dies it has no splits, since they hold a reference
 * to it. Connections that wait between relays hold none, and end here.
 */
static void __net_exit net_exit(struct net *net)
{
	struct ktcp_net *ktcp = ktcp_net_of(net);

	ktcp_procfs_exit(ktcp);
	mutex_lock(&ktcp->config_lock);
	ktcp_listener_close_all(ktcp);
	ktcp_early_syn_stop(ktcp);
	ktcp_split_abort_all(ktcp);
	ktcp_table_publish(&ktcp->routes, NULL);
	ktcp_table_publish(&ktcp->exits, NULL);
	ktcp_peer_close_all(ktcp);
	ktcp_table_publish(&ktcp->keys, NULL);
	mutex_unlock(&ktcp->config_lock);
	ktcp_rendezvous_exit(ktcp);
	ktcp_stats_exit(ktcp);
	ktcp_ticket_issuer_exit(ktcp);
	mutex_destroy(&ktcp->config_lock);
}

static struct pernet_operations net_ops = {
	.init = net_init,
	.pre_exit = net_pre_exit,
	.exit = net_exit,
	.id = &ktcp_net_id,
	.size = sizeof(struct ktcp_net),
};

static int __init ktcp_init(void)
{
	int err;

	ktcp_procfs_offer(files);
	ktcp_settings_on_change(apply_settings);
	ktcp_health_on_loss(ktcp_split_abort_unheard);
	ktcp_framed_on_idle(ktcp_session_idle);
	err = ktcp_thread_pool_init();
	if (err)
		return err;
	err = ktcp_split_module_init();
	if (err)
		goto exit_thread_pool;
	err = ktcp_watch_module_init();
	if (err)
		goto exit_split;
	err = ktcp_listener_init();
	if (err)
		goto exit_watch;
	err = register_pernet_subsys(&net_ops);
	if (err)
		goto exit_listener;
	return 0;

exit_listener:
	ktcp_listener_exit();
exit_watch:
	ktcp_watch_module_exit();
exit_split:
	ktcp_split_module_exit();
exit_thread_pool:
	ktcp_thread_pool_exit();
	return err;
}

static void __exit ktcp_exit(void)
{
	unregister_pernet_subsys(&net_ops);
	ktcp_listener_exit();
	ktcp_watch_module_exit();
	ktcp_split_module_exit();
	ktcp_transfer_exit();
	ktcp_thread_pool_exit();
}

module_init(ktcp_init);
module_exit(ktcp_exit);

MODULE_DESCRIPTION("TCP split at cloud relays");
MODULE_AUTHOR("The KTCP authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(KTCP_MODULE_VERSION);
MODULE_SOFTDEP("pre: hmac sha256");

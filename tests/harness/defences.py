# SPDX-License-Identifier: GPL-2.0-only
"""The defences of a relay, and how to remove each from the module.

A test of a defence proves something only if it fails without it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Defence:
    """A defence: the line of kmod/ that it depends on, and the tests that guard it."""

    name: str
    file: str
    line: str
    """Text that the file holds once."""
    without: str
    """What stands there when the defence is gone."""
    tests: str
    """Which tests fail then, as pytest's -k."""


DEFENCES = (
    # Fail open: flows that can't be split now are routed, streams that can't go on end.
    Defence(
        name="peers that are down are passed by",
        file="intercept/gate.c",
        line="usable = ktcp_route_choose(ktcp, route);",
        without="usable = true;",
        tests="test_without_backup_and_pool_flows_pass",
    ),
    Defence(
        name="flows without a route are passed by",
        file="intercept/gate.c",
        line="if (!route_is_usable(ktcp, flow->mark))\n\t\treturn false;",
        without="(void)route_is_usable(ktcp, flow->mark);",
        tests="test_no_route or test_peer_of_the_route_removed",
    ),
    Defence(
        name="targets that refused are passed by",
        file="intercept/gate.c",
        line="if (ktcp_refusal_awaits(ktcp, flow)) {",
        without="if (ktcp_refusal_awaits(ktcp, flow) && false) {",
        tests="test_next_attempt_is_refused_by_the_target",
    ),
    Defence(
        name="a backup takes over",
        file="session/session.c",
        line="path = choose_path(split, route);",
        without="(void)choose_path(split, route);\n\tpath = &route->path[0];",
        tests="test_flows_take_the_backup_and_return",
    ),
    Defence(
        name="what was sent to a lost peer ends",
        file="relay/health.c",
        line="lost(pool->ktcp, pool);",
        without=";",
        tests="test_flow_sent_to_a_peer_that_is_gone_ends_soon",
    ),
    # Empty pools, short memory.
    Defence(
        name="an empty pool refuses nobody",
        file="session/session.c",
        line="err = connect_peer(split, opening);",
        without="(void)connect_peer;\n\terr = -EAGAIN;",
        tests="test_pool_off or test_burst_beyond_the_pool",
    ),
    # Limits.
    Defence(
        name="pending halves have a limit",
        file="session/rendezvous.c",
        line="if (atomic_inc_return(&ktcp->halves) > most)",
        without="if (!atomic_inc_return(&ktcp->halves))",
        tests="test_flood_from_many_sources",
    ),
    Defence(
        name="a prefix has a share of the pending halves",
        file="session/rendezvous.c",
        line="max(most / PREFIX_SHARE, 1))",
        without="INT_MAX)",
        tests="test_flood_from_one_prefix",
    ),
    Defence(
        name="splits have a limit",
        file="intercept/gate.c",
        line="if (is_crowded(ktcp)) {",
        without="if (is_crowded(ktcp) && false) {",
        tests="test_more_flows_than_max_splits",
    ),
    Defence(
        name="splits have a limit at the exit",
        file="session/session.c",
        line="if (ktcp_split_is_over(ktcp)) {",
        without="if (ktcp_split_is_over(ktcp) && false) {",
        tests="test_full_exit_refuses",
    ),
    Defence(
        name="a prefix has a share of the splits",
        file="intercept/gate.c",
        line="return used && used * 100 >= most * percent;",
        without="return used && used * 100 >= most * percent && false;",
        tests="test_prefix_has_its_share",
    ),
    Defence(
        name="threads have a limit",
        file="intercept/gate.c",
        line="if (ktcp_thread_pool_is_full()) {",
        without="if (ktcp_thread_pool_is_full() && false) {",
        tests="test_threads_are_bounded",
    ),
    Defence(
        name="a send queue holds what can soon be sent",
        file="lib/unsent.c",
        line="UNSENT_MIN, UNSENT_MAX));",
        without="UNSENT_MAX << 3, UNSENT_MAX << 3));",
        tests="test_download_that_is_not_read_on or test_upload_that_is_not_read_on",
    ),
    Defence(
        name="strangers leave room for peers",
        file="session/stranger.c",
        line="return NO_PREFIX;\n\treturn",
        without="return NO_PREFIX;\n\tif (true)\n\t\treturn NO_PREFIX;\n\treturn",
        tests="test_strangers_leave_room_for_peers",
    ),
    Defence(
        name="a full relay waits for 95 percent",
        file="intercept/gate.c",
        line="count * 100 <= most * 95",
        without="count * 100 < most * 99",
        tests="test_full_relay_takes_flows_again_below_95_percent",
    ),
    Defence(
        name="a namespace that drains takes no flow",
        file="intercept/gate.c",
        line="if (READ_ONCE(ktcp->draining)) {",
        without="if (READ_ONCE(ktcp->draining) && false) {",
        tests="test_draining_routes_new_flows_and_keeps_old_ones",
    ),
    # Strangers.
    Defence(
        name="who connects has to prove the key",
        file="relay/handoff.c",
        line='return err ?: check_mac(key, "initiator", hello, &challenge,\n\t\t\t\tproof.mac);',
        without="return err;",
        tests="test_wrong_proof or test_proof_of_another_connection",
    ),
    Defence(
        name="who accepts has to prove the key",
        file="relay/handoff.c",
        line='check_mac(key, "acceptor", &hello, &challenge, challenge.mac);',
        without="0;",
        tests="test_wrong_key",
    ),
    Defence(
        name="each end has a role of its own",
        file="relay/handoff.c",
        line="strscpy(all->role, role, sizeof(all->role));",
        without='strscpy(all->role, "relay", sizeof(all->role));',
        tests="test_own_mac_sent_back",
    ),
    Defence(
        name="who uses a ticket has to prove the key",
        file="relay/handoff.c",
        line="if (crypto_memneq(mac, resume.mac, sizeof(mac)))",
        without="if (0)",
        tests="test_ticket_without_the_key",
    ),
    Defence(
        name="a use of a ticket is good once",
        file="relay/use_window.c",
        line="return !__test_and_set_bit(place_of(use, window->size), window->used);",
        without="return true;",
        tests="test_use_of_a_ticket_is_good_once",
    ),
    Defence(
        name="a ticket belongs to its key",
        file="relay/ticket_issuer.c",
        line="if (ticket && ticket->key == key) {",
        without="if (ticket) {",
        tests="test_ticket_belongs_to_its_key",
    ),
    Defence(
        name="targets are those that exits allow",
        file="session/exit.c",
        line="allowed = rules_allow(rcu_dereference(ktcp->exits), target);",
        without="(void)rules_allow(rcu_dereference(ktcp->exits), target);\n\tallowed = true;",
        tests="test_exit_denies or test_exits_hold_for_a_direct_route",
    ),
    Defence(
        name="no rule opens the relay itself",
        file="session/exit.c",
        line="ktcp_addr_is_local(ktcp->net, target))",
        without="false)",
        tests="test_relay_never_exits_to_itself or test_target_that_no_rule_can_allow",
    ),
    Defence(
        name="the next hop is a peer",
        file="session/session.c",
        line="if (!split->peer)\n\t\treturn -EHOSTUNREACH;",
        without="if (!split->peer)\n\t\treturn connect_far(split, path, NULL, 0);",
        tests="test_next_hop_that_is_no_peer",
    ),
    Defence(
        name="no path comes back",
        file="relay/open.c",
        line="check_path(ktcp, open);",
        without="((void)check_path, 0);",
        tests="test_bad_open or test_next_hop_that_is_no_peer",
    ),
    Defence(
        name="who was not redirected gets nothing",
        file="session/flow.c",
        line="return ct->status & IPS_DST_NAT ||",
        without="return true ||",
        tests="test_stranger_at_the_listener",
    ),
    Defence(
        name="strangers have a limit",
        file="session/stranger.c",
        line="if (atomic_inc_return(&ktcp->handshakes) > HANDSHAKES_MAX) {",
        without="if (!atomic_inc_return(&ktcp->handshakes)) {",
        tests="test_no_more_strangers_than_the_limit_have_a_thread",
    ),
    Defence(
        name="a stranger's handshake has its time",
        file="session/session.c",
        line="ktcp_socket_set_timeout(sock, msecs_to_jiffies(ms));",
        without="(void)ms;",
        tests="test_silence",
    ),
    # No byte of one stream in another.
    Defence(
        name="records of another stream are refused",
        file="relay/record.c",
        line="ntohs(head->key) == stream;",
        without="(ntohs(head->key) == stream || true);",
        tests="test_wrong_record_from_an_initiator or test_wrong_record_from_an_acceptor",
    ),
    Defence(
        name="streams have the next number",
        file="relay/open.c",
        line="ntohs(wire->head.key) != ktcp_leg_number(leg) ||",
        without="(ntohs(wire->head.key) != ktcp_leg_number(leg) && false) ||",
        tests="test_open_with_a_wrong_number",
    ),
    Defence(
        name="nothing comes before a leg is given back",
        file="datapath/framed.c",
        line="if (!skb_queue_empty_lockless(&sk->sk_receive_queue)) {",
        without="if (!skb_queue_empty_lockless(&sk->sk_receive_queue) && false) {",
        tests="test_bytes_before_the_leg_is_given_back",
    ),
    Defence(
        name="nothing comes behind a leg that is given back",
        file="relay/rest.c",
        line="skb_queue_empty(&sk->sk_receive_queue);",
        without="(skb_queue_empty(&sk->sk_receive_queue) || true);",
        tests="test_leg_that_is_not_given_back",
    ),
    # What ends must end.
    Defence(
        name="a split that is idle for long ends",
        file="datapath/watch.c",
        line="if (ktcp_forward_is_idle(split) && !ktcp_split_is_aborted(split)) {",
        without="if (false) {",
        tests="test_idle_split_ends",
    ),
    Defence(
        name="an RST after FIN is heard",
        file="datapath/event.c",
        line="if (!ktcp_split_is_broken(split, end->side))",
        without="if (true)",
        tests="test_server_ends_then_resets",
    ),
    Defence(
        name="a relay that vanishes is noticed",
        file="datapath/watch.c",
        line="if (!is_silent(end, sock->sk))",
        without="if (!is_silent(end, sock->sk) || true)",
        tests="test_upload",
    ),
)

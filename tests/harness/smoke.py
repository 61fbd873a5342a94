# SPDX-License-Identifier: GPL-2.0-only
"""A dozen kernel tests, one of each kind: most mistakes break at least one of them."""

SMOKE = (
    "test_bytes.py::test_upload_arrives[v4-1024-full]",
    "test_close.py::test_client_ends_first[v4-threads]",
    "test_close.py::test_reset_by_the_client[v4-copy]",
    "test_early_syn.py::test_every_connection_begins_early[redirect-v4]",
    "test_hops.py::test_relay_between_that_is_gone[v4]",
    "test_limits.py::test_draining_routes_new_flows_and_keeps_old_ones[v4]",
    "test_peer_pool.py::test_pool_is_filled_and_used[v4]",
    "test_procfs.py::test_what_is_read_recreates_the_state",
    "test_refusal.py::test_exit_denies[v4-default is deny-plain]",
    "test_strangers.py::test_use_of_a_ticket_is_good_once[same]",
    "test_tproxy.py::test_split[v6-full]",
    "test_lifetime.py::test_unload_under_load[v4]",
)

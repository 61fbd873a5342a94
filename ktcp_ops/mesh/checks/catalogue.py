# SPDX-License-Identifier: GPL-2.0-only
"""All checks of a mesh, in the order in which their problems are reported."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks import (
    destinations,
    edges,
    exits,
    keys,
    pairs,
    paths,
    probes,
    relays,
    services,
    settings,
    tunnels,
)
from ktcp_ops.mesh.checks.subject import Check, Problem, Subject

CHECKS: tuple[Check, ...] = (
    settings.ports_differ,
    relays.group_has_relays,
    settings.settings_fit,
    pairs.pairs_are_relays,
    relays.relays_have_addresses,
    pairs.legs_share_a_family,
    relays.pools_fit_memory,
    paths.names_are_unique,
    paths.paths_are_relays,
    paths.auto_paths_have_ways,
    paths.paths_end,
    paths.backups_stand_in,
    pairs.pairs_cover_paths,
    destinations.paths_have_destinations,
    destinations.destinations_are_targets,
    services.services_have_targets,
    services.services_do_not_circle,
    services.service_ports_are_free,
    exits.transparent_exits_keep_answers,
    destinations.destinations_differ,
    paths.marks_name_routes,
    exits.exits_are_relays,
    exits.exits_allow_paths,
    keys.key_exists,
    probes.probes_fit,
    settings.listeners_spare_ssh,
    exits.exits_can_allow,
    exits.exits_say_it_once,
    exits.exits_spare_relays,
    destinations.destinations_are_no_relays,
    destinations.sources_use_paths,
    keys.keys_differ,
    tunnels.tunnel_has_room,
    tunnels.tunnel_addresses_differ,
    tunnels.tunnel_addresses_are_inside,
    tunnels.tunnel_is_apart,
    edges.edges_are_hosts,
    edges.edges_have_relays,
    edges.edges_keep_their_default_route,
    edges.edges_reach_their_relays,
    edges.tunnels_lead_back,
    edges.tunnels_are_told_apart,
)


def problems(subject: Subject) -> Iterator[Problem]:
    """Run all checks."""
    for check in CHECKS:
        yield from check(subject)

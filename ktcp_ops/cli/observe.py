# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh dashboard`` and ``alerts``: what Grafana and Prometheus take."""

from ktcp_ops import console
from ktcp_ops.mesh.observation import dashboard
from ktcp_ops.run.environment import collection_root

ALERTS = "roles/ktcp_observe/files/alerts.yml"


def show_dashboard() -> None:
    """Print a dashboard for Grafana: Dashboards, New, Import.

    It shows the metrics that the role ktcp_observe gives to node_exporter.
    """
    console.print_json(dashboard.dashboard())


def show_alerts() -> None:
    """Print the alert rules, for a file that Prometheus's rule_files names."""
    console.print_line((collection_root() / ALERTS).read_text(encoding="utf-8").rstrip("\n"))

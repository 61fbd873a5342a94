#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prints everything on a host that KTCP could have changed, one line each. Files that every DKMS
# build leaves behind (its signing key, indexes of modules) do not count.
set -eu

# Files, with content and mode.
find /etc /usr/local -type f ! -path /etc/mtab -exec sha256sum {} + | sort -k 2
find /etc /usr/local -printf '%p %M %u %l\n' | sort

# Places with too many files to read them all: ours would show by their names. Ansible keeps its
# .ansible on every host that it visits, whatever it does there.
find /root /usr/src /var/lib -maxdepth 1 ! -path /root/.ansible | sort
find /lib/modules/*/ -path '*/updates/*' -type f | sort
find /var/lib/dkms -mindepth 1 -maxdepth 1 ! -name 'mok.*' | sort
find /var/lib/prometheus | sort
find /run -maxdepth 1 -name 'ktcp*' ! -name 'ktcp-lab*' | sort

# Empty tables that a rule once needed do not count.
iptables-save | grep '^-' || [ $? -eq 1 ]
ip6tables-save | grep '^-' || [ $? -eq 1 ]
ipset list -name

sysctl net.ipv4.tcp_fastopen net.core.rmem_max net.core.wmem_max net.ipv4.tcp_rmem net.ipv4.tcp_wmem
sysctl net.ipv4.ip_local_port_range
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.default.forwarding
lsmod | grep '^ktcp' || [ $? -eq 1 ]
systemctl list-unit-files --no-legend --no-pager

/* SPDX-License-Identifier: GPL-2.0-only */
/* The two versions that others see: of the module and of the wire. */
#ifndef KTCP_VERSION_H
#define KTCP_VERSION_H

#define KTCP_MODULE_VERSION "0.2.0"
#define KTCP_WIRE_VERSION 2

#endif /* KTCP_VERSION_H */

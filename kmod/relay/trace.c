// SPDX-License-Identifier: GPL-2.0-only
/* The one place where the tracepoints of trace.h become code. */

#define CREATE_TRACE_POINTS
#include "relay/trace.h"

/* SPDX-License-Identifier: MIT */
/* fork.h - what happens at fork() and at the end of the process. */
#ifndef LTZ_POOL_FORK_H
#define LTZ_POOL_FORK_H

/* Registers the handlers; once a process. 0, -ENOMEM. */
int ltz__fork_watch(void);

#endif

/* SPDX-License-Identifier: MIT */
/* tables.h - the cases, by file. */
#ifndef LTZ_TEST_OOM_TABLES_H
#define LTZ_TEST_OOM_TABLES_H

#include <stddef.h>

struct stage_case;

/* keys.c */
extern const struct stage_case *const set_cases, *const key_cases;
extern const size_t set_case_count, key_case_count;

/* many.c */
extern const struct stage_case *const many_cases;
extern const size_t many_case_count;

/* forks.c */
extern const struct stage_case *const fork_cases;
extern const size_t fork_case_count;

/* service.c */
extern const struct stage_case *const service_cases;
extern const size_t service_case_count;
void sweep_end_by_another(void);

/* house.c */
void sweep_housekeeping(void);
void sweep_burial(void);

/* names.c */
void sweep_names_of_nobody(void);
void sweep_names_of_somebody(void);

#endif

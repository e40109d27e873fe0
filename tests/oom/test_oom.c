/* SPDX-License-Identifier: MIT */
/* test_oom.c - every public call, and housekeeping, survives each failing call of the system. */
#include "stage.h"
#include "tables.h"

TEST_WITH_LIMIT(set_survives_each_failing_call, 120)
{
	stage_sweep(set_cases, set_case_count, LTZ_FAULT_THREAD);
	sweep_report();
}

TEST_WITH_LIMIT(calls_on_one_key_survive_each_failing_call, 120)
{
	stage_sweep(key_cases, key_case_count, LTZ_FAULT_THREAD);
	sweep_report();
}

TEST_WITH_LIMIT(calls_on_many_keys_and_on_the_pool_survive_each_failing_call, 120)
{
	stage_sweep(many_cases, many_case_count, LTZ_FAULT_THREAD);
	sweep_report();
}

TEST_WITH_LIMIT(names_that_nobody_holds_survive_each_failing_call, 120)
{
	sweep_names_of_nobody();
	sweep_report();
}

TEST_WITH_LIMIT(joining_and_leaving_others_survive_each_failing_call, 120)
{
	sweep_names_of_somebody();
	sweep_report();
}

TEST_WITH_LIMIT(a_forked_child_survives_each_failing_call_of_its_join, 120)
{
	stage_sweep(fork_cases, fork_case_count, LTZ_FAULT_THREAD);
	sweep_report();
}

TEST_WITH_LIMIT(what_fails_in_housekeeping_is_done_later, 120)
{
	sweep_housekeeping();
	sweep_report();
}

TEST_WITH_LIMIT(a_destroyed_pool_gives_its_memory_back_later, 120)
{
	sweep_burial();
	sweep_report();
}

TEST_WITH_LIMIT(the_service_thread_survives_each_failing_call, 120)
{
	sweep_end_by_another();
	stage_sweep(service_cases, service_case_count, LTZ_FAULT_PROCESS);
	sweep_report();
}

TEST_WITH_LIMIT(calls_survive_what_fails_in_the_service_thread_meanwhile, 120)
{
	stage_sweep(key_cases, key_case_count, LTZ_FAULT_PROCESS);
	stage_sweep(many_cases, many_case_count, LTZ_FAULT_PROCESS);
	sweep_report();
}

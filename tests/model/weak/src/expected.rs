// SPDX-License-Identifier: MIT
//! Rules that may be broken without any scenario noticing, each with why the
//! code keeps it. Where other rules do the same work, `with` names them: with
//! these broken too it must be noticed, and is tried.

use crate::explore::Mutant;

pub struct Kept {
    pub rule: Mutant,
    pub why: &'static str,
    pub with: &'static [Mutant],
}

pub fn find(rule: Mutant) -> Option<&'static Kept> {
    KEPT.iter().find(|kept| kept.rule == rule)
}

const fn kept(place: &'static str, way: &'static str, why: &'static str) -> Kept {
    Kept { rule: (place, way), why, with: &[] }
}

const fn both(place: &'static str, way: &'static str, why: &'static str, with: &'static [Mutant]) -> Kept {
    Kept { rule: (place, way), why, with }
}

/* ---- needed, and not to be shown here --------------------------------------------------- */

const LATER_STORE: &str = "keeps what comes before from moving behind a later store: load buffering, which is not explored; as a swap of the two it is noticed";
const LOCK_STATE: &str =
    "orders a load before a question to the kernel, whose answer is never old here; as a swap of the two it is noticed";

/* ---- not needed: something else does it --------------------------------------------------- */

const LOCK: &str =
    "the kernel's lock on the row orders all that its last member did before whoever settles or takes the row";
const CHAIN: &str = "the word is changed by swaps only, and each carries on what earlier ones have released";
const SWAP_FOLLOWS: &str = "a swap of the same word follows and acquires, or nothing comes of it";
const FENCE: &str = "the fence beside it, or the scanner's membarrier, orders more than that";
const SAME_STORE: &str =
    "the word never comes back: found as it was, it is the store that was read before; found changed, it is not used";
const EARLIER: &str = "an acquire before it, or a release behind it, covers it";
const PAIR: &str =
    "both halves are stored at once: the acquire of the first covers the second, which only goes into swaps";

/* ---- not needed: nothing depends on it ------------------------------------------------------ */

const UNUSED: &str = "nothing that is done later depends on what others did before, or the other way round";
const COMPARED: &str = "the word is only compared; what it names is not followed";
const CHECKED_LATER: &str = "only a hint: what it leads to is checked again under a hazard";
const RESTARTS: &str = "who sees one without the other restarts";
const DEAD_ONLY: &str =
    "adoption asks about blocks of the dead only: they may leave the index meanwhile, and never come into it";

pub const KEPT: &[Kept] = &[
    kept("pool/service.c:keep_house", "no release", UNUSED),
    kept("pool/service.c:ring", "no acquire", UNUSED),
    kept("shm/adopt.c:adopt_granule", "no acquire", LOCK),
    kept("shm/adopt.c:adopt_granule", "no release", CHAIN),
    kept("shm/adopt.c:adopt_granule owner", "relaxed", LOCK),
    kept("shm/adopt.c:adopt_intent b", "relaxed", FENCE),
    kept("shm/adopt.c:adopt_intent e", "relaxed", COMPARED),
    kept("shm/adopt.c:adopt_intent h", "relaxed", LATER_STORE),
    kept("shm/adopt.c:adopt_intent hw", "relaxed", LOCK),
    kept("shm/adopt.c:adopt_intent vw", "relaxed", LOCK),
    kept("shm/adopt.c:ltz__adopt row", "no acquire", UNUSED),
    kept("shm/adopt.c:sweep", "relaxed", "only this lane, or one that adopts it, clears the bit"),
    kept("shm/adopt.c:sweep alloc", "relaxed", LOCK),
    kept("shm/adopt.c:sweep retired", "relaxed", LOCK),
    kept("shm/granule.c:claim_at", "no release", CHAIN),
    kept("shm/granule.c:claim_at back", "no acquire", CHAIN),
    kept("shm/granule.c:claim_at back", "no release", CHAIN),
    kept("shm/granule.c:claim_at owner", "relaxed", SWAP_FOLLOWS),
    kept("shm/granule.c:claim_at part", "no release", CHAIN),
    kept("shm/granule.c:claim_at part", "relaxed", SWAP_FOLLOWS),
    kept("shm/granule.c:claim_virgins", "no acquire", CHAIN),
    kept("shm/granule.c:claim_virgins", "no release", CHAIN),
    kept("shm/granule.c:claim_virgins owner", "relaxed", SWAP_FOLLOWS),
    kept("shm/granule.c:free_parts", "no acquire", CHAIN),
    kept("shm/granule.c:ltz__granules_form", "no acquire", CHAIN),
    kept("shm/granule.c:ltz__granules_release head", "no acquire", CHAIN),
    kept("shm/granule.c:ltz__granules_teardown", "no acquire", CHAIN),
    kept("shm/granule.c:turn_claims", "no acquire", CHAIN),
    kept("shm/granule.c:turn_claims", "no release", CHAIN),
    kept("shm/lane.c:ltz__lane_open", "acq_rel", FENCE),
    kept("shm/lane.c:ltz__lane_open", "no acquire", FENCE),
    kept("shm/lane.c:ltz__lane_open", "no fence", FENCE),
    kept("shm/lane.c:ltz__lane_open", "no release", FENCE),
    kept("shm/lane.c:ltz__table_hazard th", "relaxed", LATER_STORE),
    kept("shm/lane.c:read_row hr", "relaxed", LATER_STORE),
    kept("shm/lane.c:read_row hw", "relaxed", LATER_STORE),
    kept("shm/lane.c:read_row lanes_used", "relaxed", FENCE),
    kept("shm/lane.c:read_row word", "relaxed", FENCE),
    kept("shm/member.c:clear_row hr", "relaxed", UNUSED),
    kept("shm/member.c:clear_row hw", "relaxed", UNUSED),
    kept("shm/member.c:join_row word", "no acquire", LOCK),
    kept("shm/member.c:join_row word", "no release", LOCK),
    kept("shm/member.c:join_row word", "relaxed", LOCK),
    kept("shm/member.c:ltz__member_dead", "relaxed", LOCK_STATE),
    kept("shm/reclaim.c:begin_release", "no acquire", CHAIN),
    kept("shm/reclaim.c:begin_release", "no release", CHAIN),
    kept("shm/reclaim.c:collect_word retired", "relaxed", FENCE),
    kept("shm/reclaim.c:free_word alloc", "relaxed", "read by others only to count, or after the owner's death"),
    kept("shm/slab.c:ltz__block_free alloc", "relaxed", "read by others only to count, or after the owner's death"),
    kept("shm/slab.c:retired_word_in_slab owner", "relaxed", EARLIER),
    kept("store/due.h:due_announce", "no acquire", UNUSED),
    kept("store/due.h:due_announce lower", "no acquire", UNUSED),
    both("store/due.h:due_announce lower", "no release", EARLIER, &[("store/due.h:due_announce", "no release")]),
    both("store/edit.c:decide_and_publish W10", "relaxed", EARLIER, &[("store/edit.c:examine W7", "relaxed")]),
    kept("store/edit.c:decide_and_publish W9", "relaxed", SAME_STORE),
    both(
        "store/edit.c:find_in W5",
        "relaxed",
        "W7 loads the same word again",
        &[("store/edit.c:examine W7", "relaxed")],
    ),
    kept("store/edit.c:insert W20", "no acquire", UNUSED),
    kept("store/edit.c:ltz__edit W13", "relaxed", LATER_STORE),
    kept(
        "store/edit.c:replace W10a",
        "relaxed",
        "read after this member's death only, which keeps the order of the program",
    ),
    kept("store/edit.c:replace W11", "no acquire", UNUSED),
    kept("store/edit.c:settle_bucket W4 b", "relaxed", PAIR),
    kept("store/expiry.c:ltz__sweep due", "relaxed", CHECKED_LATER),
    kept("store/expiry.c:ltz__sweep owner", "relaxed", CHECKED_LATER),
    kept("store/expiry.c:sweep_block meta", "relaxed", "the fence behind the copy covers it"),
    kept("store/expiry.c:sweep_block version again", "relaxed", SAME_STORE),
    kept("store/expiry.c:sweep_extent", "no release", UNUSED),
    both("store/expiry.c:sweep_extent alloc", "relaxed", EARLIER, &[("store/expiry.c:sweep_extent", "no acquire")]),
    kept("store/expiry.c:sweep_extent close", "no acquire", UNUSED),
    kept("store/expiry.c:sweep_extent close", "no release", UNUSED),
    kept("store/expiry.c:sweep_extent lower", "no acquire", UNUSED),
    kept("store/expiry.c:sweep_extent lower", "no release", UNUSED),
    kept("store/expiry.c:sweep_extent retired", "relaxed", CHECKED_LATER),
    kept("store/expiry.c:sweep_pinned done", "relaxed", LATER_STORE),
    kept("store/expiry.c:sweep_pinned hr", "relaxed", FENCE),
    kept("store/expiry.c:sweep_pinned owner", "relaxed", CHECKED_LATER),
    kept("store/read.c:read_record meta", "relaxed", "the fence behind the copy covers it"),
    kept("store/read.c:try_bucket link", "relaxed", "the walk loads it again"),
    kept("store/read.c:try_get G9", "relaxed", SAME_STORE),
    kept("store/read.c:try_get_fast G2", "relaxed", "the root's acquire covers a table that is born"),
    kept("store/read.c:try_get_fast G9", "relaxed", SAME_STORE),
    kept("store/read.c:try_get_fast place", "relaxed", RESTARTS),
    kept("store/read.c:try_pending a again", "relaxed", SAME_STORE),
    both("store/read.c:try_pending version", "relaxed", EARLIER, &[("store/read.c:try_pending b", "relaxed")]),
    kept("store/read.c:try_prev G8", "no fence", "each load before it acquires, or has its own fence"),
    kept("store/read.c:try_prev G8", "relaxed", SAME_STORE),
    kept("store/read.c:try_prev a", "relaxed", UNUSED),
    kept("store/read.c:try_slot G7 version", "relaxed", SAME_STORE),
    kept("store/refers.c:ask a again", "left out", DEAD_ONLY),
    kept("store/refers.c:ask a again", "relaxed", DEAD_ONLY),
    kept("store/refers.c:ask root again", "left out", DEAD_ONLY),
    kept("store/refers.c:ask root again", "relaxed", DEAD_ONLY),
    kept("store/refers.c:ask target again", "left out", DEAD_ONLY),
    kept("store/refers.c:ask target again", "relaxed", DEAD_ONLY),
    kept("store/refers.c:ltz__map_refers meta", "relaxed", LOCK),
    kept("store/refers.c:names slot", "relaxed", COMPARED),
    both("store/resize.c:claim_entry", "no acquire", EARLIER, &[("store/resize.c:claim_entry claim", "relaxed")]),
    kept("store/resize.c:claim_entry born", "relaxed", UNUSED),
    kept("store/resize.c:claim_entry place", "relaxed", UNUSED),
    kept("store/resize.c:free_entry", "no acquire", CHAIN),
    kept("store/resize.c:free_entry claim", "relaxed", SWAP_FOLLOWS),
    kept("store/resize.c:free_entry place", "relaxed", UNUSED),
    kept("store/resize.c:leave_table", "no acquire", CHAIN),
    kept("store/resize.c:leave_table", "no release", CHAIN),
    kept("store/resize.c:ltz__resize_begin R8", "no acquire", UNUSED),
    both(
        "store/resize.c:ltz__resize_begin R8",
        "no release",
        EARLIER,
        &[("store/resize.c:make_table place", "relaxed")],
    ),
    kept("store/resize.c:ltz__tables_tend born", "relaxed", "an older one only makes more hazards count"),
    kept("store/resize.c:ltz__tables_tend root", "relaxed", FENCE),
    kept("store/resize.c:make_table born", "relaxed", EARLIER),
    both(
        "store/resize.c:make_table place",
        "relaxed",
        EARLIER,
        &[("store/resize.c:ltz__resize_begin R8", "no release")],
    ),
    kept("store/resize.c:migrate_slice R11", "no acquire", UNUSED),
    kept("store/resize.c:migrate_slice R11", "no release", RESTARTS),
    kept("store/resize.c:migrate_slice R9", "relaxed", RESTARTS),
    kept("store/scan.c:append meta", "relaxed", "the fence behind the copy covers it"),
    kept("store/scan.c:append slot", "relaxed", UNUSED),
    kept("store/scan.c:append version again", "relaxed", SAME_STORE),
    kept("store/scan.c:take_bucket", "no fence", "each load before it acquires, or has its own fence"),
    kept("store/scan.c:take_bucket a", "relaxed", UNUSED),
    kept("store/scan.c:take_bucket a again", "relaxed", SAME_STORE),
    kept("store/scan.c:take_bucket b", "relaxed", PAIR),
    both("store/scan.c:take_slots", "relaxed", EARLIER, &[("store/scan.c:append version", "relaxed")]),
    kept("store/table.c:freeze_bucket M1", "relaxed", SWAP_FOLLOWS),
    kept("store/table.c:freeze_bucket M1 b", "relaxed", PAIR),
    kept("store/table.c:freeze_bucket M2", "no acquire", UNUSED),
    kept("store/table.c:freeze_bucket M2", "no release", UNUSED),
    kept("store/table.c:ltz__help H2", "relaxed", SAME_STORE),
    kept("store/table.c:ltz__help H3", "no acquire", UNUSED),
    kept("store/table.c:ltz__help H4", "no acquire", UNUSED),
    kept("store/table.c:ltz__line_append", "no acquire", UNUSED),
    kept("store/table.c:ltz__line_append", "no release", "the line was zeroed before the root named its table"),
    kept("store/table.c:ltz__line_append link", "relaxed", COMPARED),
    kept("store/table.c:ltz__migrate M5", "no acquire", UNUSED),
    kept("store/table.c:ltz__table_enter W2", "relaxed", FENCE),
    kept("store/table.c:ltz__table_enter W3", "relaxed", SAME_STORE),
    kept("store/table.c:ltz__walk_next link", "relaxed", "the line was zeroed before the root named its table"),
    kept("store/table.c:migrate_source M3", "no release", UNUSED),
    kept("store/table.c:put_next M4", "no acquire", UNUSED),
    both("store/table.c:put_next M4", "no release", EARLIER, &[("store/table.c:ltz__migrate M5", "no release")]),
    kept("store/table.c:take_line", "no acquire", UNUSED),
    kept("store/table.c:take_line", "no release", UNUSED),
    kept("store/table.c:take_line", "relaxed", UNUSED),
    both("store/table.h:table_at place", "relaxed", EARLIER, &[("store/resize.c:ltz__resize_begin R8", "no release")]),
];

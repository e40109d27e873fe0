// SPDX-License-Identifier: MIT
//! The protocols' cores: each file some threads over a small pool, and what must never happen.

use crate::cpu::{Cpu, Mode, Word};
use crate::explore::{Scenario, Shared, Thread, R};
use crate::pool::*;
use std::future::Future;
use std::rc::Rc;

pub mod bitmap;
pub mod due;
pub mod hazard;
pub mod owner;
pub mod publish;
pub mod root;
pub mod wake;

/// What it is called, how hazards are fenced in it, and its threads.
pub type Scenarios = &'static [(&'static str, &'static [Mode], fn(&Shared, Mode) -> Vec<Thread>)];

/// Both kinds of pools; or one, where nobody fences.
const BOTH: &[Mode] = &[Mode::Fences, Mode::Membarrier];
const ONE: &[Mode] = &[Mode::Membarrier];

pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();

    for (core, scenarios) in [
        ("publish", publish::SCENARIOS),
        ("hazard", hazard::SCENARIOS),
        ("bitmap", bitmap::SCENARIOS),
        ("owner", owner::SCENARIOS),
        ("root", root::SCENARIOS),
        ("due", due::SCENARIOS),
        ("wake", wake::SCENARIOS),
    ] {
        for (name, modes, build) in scenarios {
            all.extend(modes.iter().map(|&mode| Scenario { core, name, mode, build }));
        }
    }
    all
}

/// A thread of the scenario with lane `lane`; its number is the number of threads before it.
pub fn thread<F: Future<Output = R<()>> + 'static>(
    shared: &Shared,
    pool: &Rc<Pool>,
    lane: usize,
    body: impl FnOnce(Member) -> F,
) -> Thread {
    Box::pin(body(Member::new(&Cpu::new(shared), pool, lane)))
}

/// The same of a process that may be killed before any of its accesses.
pub fn mortal<F: Future<Output = R<()>> + 'static>(
    shared: &Shared,
    pool: &Rc<Pool>,
    lane: usize,
    body: impl FnOnce(Member) -> F,
) -> Thread {
    Box::pin(body(Member::new(&Cpu::mortal(shared), pool, lane)))
}

/// At the end: each key is where a fresh look-up finds it, once, with its last version.
pub fn everything_is_found(shared: &Shared, pool: &Rc<Pool>) {
    let pool = pool.clone();

    shared.borrow_mut().finally(move |run| {
        let last = |word: Word| run.memory.last(word.0);
        let mut bucket = &pool.table[0];

        if let Some(index) = &pool.index {
            let root = last(index.root);
            let at = |id: usize| {
                let place = id.checked_sub(1).map_or(0, |i| last(index.place[i]));
                pool.table.get((place as usize).wrapping_sub(1)).ok_or("the root's table is nowhere".to_string())
            };
            bucket = at(root_cur(root))?;
            if ctrl_state(last(bucket.ctrl.0)) == UNBORN {
                bucket = at(root_prev(root))?;
            }
        }
        let mut words: Vec<u64> =
            bucket.slot.iter().chain(bucket.line.iter().map(|line| &line.slot)).map(|&slot| last(slot)).collect();
        if ctrl_state(last(bucket.ctrl.0)) == PENDING {
            words.push(last(bucket.ctrl.1));
        }
        words.retain(|&word| is_record(word));
        words.sort();
        words.dedup();
        for key in 0..KEYS as u64 {
            let found: Vec<u64> = words
                .iter()
                .map(|&word| pool.block[block_of(word) - 1])
                .filter(|block| meta_key(last(block.meta)) == key)
                .map(|block| last(block.version))
                .collect();
            let wanted = last_change(run, key);
            if found != if wanted == 0 { vec![] } else { vec![wanted] } {
                return Err(format!("key {key} should have version {wanted}, and has {found:?}"));
            }
        }
        Ok(())
    });
}

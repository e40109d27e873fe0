// SPDX-License-Identifier: MIT
//! The due word: writers lower it, sweeps take it away and put it back. What
//! must never happen: a record that expires, and a due word that is later.

use crate::cores::{mortal, thread, Scenarios, BOTH};
use crate::cpu::{word, Mode, Word};
use crate::explore::{Shared, Thread};
use crate::pool::*;
use crate::steps::expiry::{due_is_come, expiry_of, LATE, NEVER};
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("writer and sweep", BOTH, writer_and_sweep),
    ("nothing to lower", BOTH, nothing_to_lower),
    ("two sweeps", BOTH, two_sweeps),
    ("sweep and reuse", BOTH, sweep_and_reuse),
    ("sweep and release", BOTH, sweep_and_release),
];

/// When sweeps begin: after version 1's expiry, before those of later ones.
const NOW: u64 = 150;

/// At the end, for each record there is: that sweeps cannot have deleted, due has come when it expires, or a second after an unfinished sweep.
fn nothing_is_missed(shared: &Shared, pool: &Rc<Pool>, now: u64) {
    let pool = pool.clone();

    shared.borrow_mut().finally(move |run| {
        let last = |word: Word| run.memory.last(word.0);
        let due = last(pool.due.unwrap());

        for b in 1..=pool.block.len() {
            let block = pool.block[b - 1];
            let slab = pool.slab[block.slab];
            let live = last(slab.alloc) & !last(slab.retired) & block.bit != 0 && last(block.version) != 0;
            let live = live && expiry_of(last(block.meta)) > now;
            if live && !due_is_come(due, expiry_of(last(block.meta)) + LATE) {
                return Err(format!("a record expires at {}, due is {due:#x}", expiry_of(last(block.meta))));
            }
        }
        Ok(())
    });
}

fn pool(shared: &Shared, mode: Mode, threads: usize, slots: usize, blocks: &'static [usize]) -> Pool {
    let mut pool = Pool::new(shared, &Shape { mode, threads, tables: 1, slots, blocks, lanes: threads });

    pool.due = Some(word(shared, "due", 0, NEVER));
    pool
}

/// A record that expires is put while its extent is swept.
fn writer_and_sweep(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0]));

    nothing_is_missed(shared, &pool, NOW);
    vec![
        thread(shared, &pool, 0, |me| async move { me.put(0, 1, 2).await }),
        thread(shared, &pool, 1, |me| async move { me.sweep_extent(0, NOW).await }),
    ]
}

/// The extent is due already, for a record that the sweep takes away: the writer has nothing to lower.
fn nothing_to_lower(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 2, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    shared.borrow_mut().memory.begin_with(pool.due.unwrap().0, 100);
    let pool = Rc::new(pool);
    nothing_is_missed(shared, &pool, NOW);
    vec![
        thread(shared, &pool, 0, |me| async move { me.put(1, 2, 2).await }),
        thread(shared, &pool, 1, |me| async move { me.sweep_extent(0, NOW).await }),
    ]
}

/// Two sweeps at the same time, begun in the same millisecond, one of which may never end; and a writer.
fn two_sweeps(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 3, 1, &[0]));

    nothing_is_missed(shared, &pool, NOW);
    vec![
        thread(shared, &pool, 0, |me| async move { me.put(0, 1, 2).await }),
        thread(shared, &pool, 1, |me| async move { me.sweep_extent(0, NOW).await }),
        mortal(shared, &pool, 2, |me| async move { me.sweep_extent(0, NOW).await }),
    ]
}

/// The sweep reads a block, long past, that is freed and filled again.
fn sweep_and_reuse(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 9);
    shared.borrow_mut().memory.begin_with(pool.due.unwrap().0, 900);
    let pool = Rc::new(pool);
    nothing_is_missed(shared, &pool, 950);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 8).await?;
            for b in me.reclaim(0).await? {
                me.put(0, b, 7).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.sweep_extent(0, 950).await }),
    ]
}

/// The extent is emptied, released and formed anew by another lane while somebody is about to sweep it.
fn sweep_and_release(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = pool(shared, mode, 3, 1, &[0]);

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    shared.borrow_mut().memory.begin_with(pool.due.unwrap().0, 900);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.release(0).await.map(|_| ()) }),
        thread(shared, &pool, 1, |me| async move { me.make_extent(0).await.map(|_| ()) }),
        thread(shared, &pool, 2, |me| async move { me.sweep_pinned(0, NOW).await.map(|_| ()) }),
    ]
}

// SPDX-License-Identifier: MIT
//! Publication and copying readers: a writer that fills blocks, publishes
//! them, retires and reuses them; readers that only look.

use crate::cores::{everything_is_found, thread, Scenarios, BOTH};
use crate::cpu::{word, Mode};
use crate::explore::{Shared, Thread};
use crate::pool::*;
use crate::steps::edit::Change;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("replace", BOTH, replace),
    ("reuse", BOTH, reuse),
    ("abandon", BOTH, abandon),
    ("insert", BOTH, insert),
    ("help", BOTH, help),
    ("late helper", BOTH, late_helper),
    ("reinsert", BOTH, reinsert),
    ("line", BOTH, line),
    ("line, two writers", BOTH, line_writers),
    ("scan", BOTH, scan),
    ("scan and reuse", BOTH, scan_reuse),
    ("scan of a pending insert", BOTH, scan_pending),
    ("other key", BOTH, other_key),
];

fn pool(shared: &Shared, mode: Mode, threads: usize, slots: usize, blocks: &'static [usize]) -> Rc<Pool> {
    Rc::new(Pool::new(shared, &Shape { mode, threads, tables: 1, slots, blocks, lanes: threads }))
}

/// A put over a record; a reader gets twice, told or not.
fn replace(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.tell(0).await
        }),
        thread(shared, &pool, 1, |me| async move {
            let seen = me.get(0, 0).await?;
            me.get(0, seen).await?;
            me.get_as_told(0).await
        }),
    ]
}

/// The first block is reused: the slot gets the very word that it had.
fn reuse(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.put(0, 1, 3).await
        }),
        thread(shared, &pool, 1, |me| async move {
            let seen = me.get(0, 0).await?;
            me.get(0, seen).await.map(|_| ())
        }),
    ]
}

/// A filled block is given up, filled again, and only then published.
fn abandon(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.take_block(1).await?;
            me.fill(1, 0, 3).await?;
            me.block_free(1).await?;
            me.put(0, 1, 4).await
        }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// An insert through the control word.
fn insert(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0]);

    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 1, 1).await?;
            me.tell(0).await
        }),
        thread(shared, &pool, 1, |me| async move {
            let seen = me.get(0, 0).await?;
            me.get(0, seen).await?;
            me.get_as_told(0).await
        }),
    ]
}

/// Two that put one absent key: each may have to help the other.
fn help(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 3, 2, &[0, 1]);

    vec![
        thread(shared, &pool, 0, |me| async move { me.put(0, 1, 1).await }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 2, 2).await }),
        thread(shared, &pool, 2, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// An insert is over and its record deleted again while somebody was about to help it.
fn late_helper(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 2, &[0, 1]);

    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 1, 1).await?;
            me.edit(0, Change::Delete).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move { me.put(1, 2, 2).await }),
    ]
}

/// Deleted and inserted again, through the same slot and block.
fn reinsert(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 1, &[0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.edit(0, Change::Delete).await?;
            me.reclaim(0).await?;
            me.put(0, 1, 2).await?;
            me.edit(0, Change::Delete).await?;
            me.reclaim(0).await?;
            me.put(0, 1, 3).await
        }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The block is reused for another key with the same hash bits: the first key is there all the time.
fn other_key(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 2, &[0, 0]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.put(1, 1, 3).await
        }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// A full bucket, to which a line may be appended.
fn pool_with_line(shared: &Shared, mode: Mode, threads: usize, blocks: &'static [usize]) -> Pool {
    let mut pool = Pool::new(shared, &Shape { mode, threads, tables: 1, slots: 1, blocks, lanes: threads });

    pool.table[0].line = Some(Line {
        link: word(shared, "link", 0, 0),
        slot: word(shared, "line", 0, 0),
        lines: word(shared, "lines", 0, 0),
    });
    pool.begin_with_record(shared, 0, 1, 0, 1);
    pool
}

/// An insert that needs a line, then a delete and an insert into the line that is there; a reader is told of each.
fn line(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool_with_line(shared, mode, 2, &[0, 0]));

    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(1, 2, 2).await?;
            me.tell(1).await?;
            me.edit(1, Change::Delete).await?;
            me.tell(1).await
        }),
        thread(shared, &pool, 1, |me| async move { me.get_as_told(1).await }),
    ]
}

/// Two append a line for the same key.
fn line_writers(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool_with_line(shared, mode, 2, &[0, 0, 1]));

    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.put(1, 2, 2).await }),
        thread(shared, &pool, 1, |me| async move { me.put(1, 3, 3).await }),
    ]
}

/// A key is deleted and comes back in another slot, its block used again, while the bucket is scanned.
fn scan(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 3, &[0, 0]);

    pool.begin_with_record(shared, 1, 1, 0, 1);
    pool.begin_with_record(shared, 2, 2, 1, 2);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.edit(0, Change::Delete).await?;
            for b in me.reclaim(0).await? {
                me.put(0, b, 3).await?;
            }
            me.edit(0, Change::Delete).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 0, 4).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.scan(1).await }),
    ]
}

/// Its block is used again, so that the slot's word comes back, while the bucket is scanned.
fn scan_reuse(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 2, &[0, 0, 0]);

    pool.begin_with_record(shared, 0, 1, 1, 1);
    pool.begin_with_record(shared, 1, 3, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(1, 2, 2).await?;
            for b in me.reclaim(0).await? {
                me.put(1, b, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.scan(1).await }),
    ]
}

/// A key is inserted, replaced, and its first block filled again.
fn scan_pending(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 2, 2, &[0, 0, 0]);

    pool.begin_with_record(shared, 1, 1, 1, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.put(0, 3, 3).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 0, 4).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.scan(1).await }),
    ]
}

// SPDX-License-Identifier: MIT
//! Hazards and reclaim: a writer at work on a block that its owner takes out of
//! use, frees and fills again. With both ways to fence.

use crate::cores::{thread, Scenarios, BOTH};
use crate::cpu::{word, Mode};
use crate::explore::{Shared, Thread};
use crate::pool::*;
use crate::steps::edit::Change;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("reuse", BOTH, reuse),
    ("delete", BOTH, delete),
    ("republish", BOTH, republish),
    ("unlinked by a third", BOTH, third),
    ("lane opens", BOTH, lane_opens),
    ("member joins", BOTH, member_joins),
];

fn shape(mode: Mode, slots: usize, blocks: &'static [usize]) -> Shape {
    Shape { mode, threads: 2, tables: 1, slots, blocks, lanes: 2 }
}

/// The owner replaces the block, reclaims it and fills it with something else that it keeps to itself.
fn reuse(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(Pool::new(shared, &shape(mode, 1, &[0, 1, 0])));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 3, 2).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 1, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 2, 4).await }),
    ]
}

/// The block is deleted from the index, reclaimed, and comes back through an insert: the slot's word is the same again.
fn delete(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(Pool::new(shared, &shape(mode, 1, &[0, 1])));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.edit(0, Change::Delete).await?;
            for b in me.reclaim(0).await? {
                me.put(0, b, 2).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 2, 4).await }),
    ]
}

/// The owner's second put makes the slot's word what it was, with another life of the block behind it.
fn republish(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(Pool::new(shared, &shape(mode, 1, &[0, 1, 0])));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 3, 2).await?;
            for b in me.reclaim(0).await? {
                me.put(0, b, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.edit(0, Change::Delete).await.map(|_| ()) }),
    ]
}

/// One deletes the record, its owner reclaims and fills the block, another one was about to delete it too.
fn third(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0], lanes: 3 });

    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    let delete = |me: Member| async move { me.edit(0, Change::Delete).await.map(|_| ()) };
    vec![
        thread(shared, &pool, 0, |me| async move {
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 1, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, delete),
        thread(shared, &pool, 2, delete),
    ]
}

/// The writer's lane is opened while the owner is about to scan.
fn lane_opens(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &shape(mode, 1, &[0, 1, 0]));

    pool.lane[1].used = Some(word(shared, "lanes_used", 1, 0));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 3, 2).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 1, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move {
            me.lane_open().await?;
            me.put(0, 2, 4).await
        }),
    ]
}

/// The writer joins, in a row that one who is gone has left with a hazard in it.
fn member_joins(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &shape(mode, 1, &[0, 1, 0]));

    pool.lane[1].row = Some(word(shared, "row", 1, row_word(1, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    shared.borrow_mut().memory.begin_with(pool.lane[1].hw.0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 3, 2).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 1, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move {
            me.join_row().await?;
            me.put(0, 2, 4).await
        }),
    ]
}

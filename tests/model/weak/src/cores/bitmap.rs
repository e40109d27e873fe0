// SPDX-License-Identifier: MIT
//! Alloc and retired words: the owner's plain stores beside what others set,
//! and adoption, which reads what the dead have left.

use crate::cores::{mortal, thread, Scenarios, BOTH};
use crate::cpu::{word, Mode};
use crate::explore::{Shared, Thread};
use crate::pool::*;
use crate::steps::edit::Change;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("two bits of one word", BOTH, two_bits),
    ("intent of the dead", BOTH, intent),
    ("two adopters", BOTH, two_adopters),
    ("two adopters of a slab", BOTH, two_sweepers),
    ("intent, and another writer", BOTH, intent_and_writer),
    ("late retire", BOTH, late_retire),
    ("the owner dies", BOTH, owner_dies),
];

/// At the end: what is allocated is in the index or retired, and the other way round.
fn nothing_leaks(shared: &Shared, pool: &Rc<Pool>) {
    let pool = pool.clone();

    shared.borrow_mut().finally(move |run| {
        for b in 1..=pool.block.len() {
            let block = pool.block[b - 1];
            let slab = pool.slab[block.slab];
            let is = |word: crate::cpu::Word| run.memory.last(word.0) & block.bit != 0;
            let linked = pool.table[0].slot.iter().any(|&slot| run.memory.last(slot.0) == record(b));
            let (allocated, retired) = (is(slab.alloc), is(slab.retired));

            if linked && (!allocated || retired) {
                return Err(format!("block {b} is in the index, not allocated or retired"));
            }
            if allocated && !linked && !retired {
                return Err(format!("block {b} leaks"));
            }
            if retired && !allocated {
                return Err(format!("block {b} is retired and free"));
            }
        }
        Ok(())
    });
}

/// The owner clears one bit of a retired word while another member sets the next one.
fn two_bits(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Pool::new(shared, &Shape { mode, threads: 2, tables: 1, slots: 2, blocks: &[0, 0], lanes: 2 });

    pool.begin_with_record(shared, 0, 1, 0, 1);
    pool.begin_with_record(shared, 1, 2, 1, 2);
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.edit(0, Change::Delete).await?;
            me.edit(1, Change::Delete).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move {
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.block_free(b).await?;
            }
            me.reclaim(0).await.map(|_| ())
        }),
    ]
}

/// A member puts over a block of another's slab and dies somewhere; the owner goes on with the block, a third one adopts.
fn intent(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0, 1], lanes: 3 });

    pool.lane[0].row = Some(word(shared, "row", 0, row_word(1, 1)));
    pool.slab[1].owner = Some(word(shared, "owner", 1, owner_make(OWNER_SLAB, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    vec![
        mortal(shared, &pool, 0, |me| async move { me.put(0, 2, 2).await }),
        thread(shared, &pool, 1, |me| async move {
            for b in me.reclaim(0).await? {
                me.put(0, b, 3).await?;
            }
            me.cpu.await_end(2).await?;
            me.reclaim(0).await.map(|_| ())
        }),
        thread(shared, &pool, 2, |me| async move {
            me.cpu.await_end(0).await?;
            me.adopt_intent(0).await?;
            let mine = me.adopt_slab(1, 0).await?;
            me.release_row(0).await?;
            if mine {
                me.reclaim(1).await?;
            }
            Ok(())
        }),
    ]
}

/// A member died between W11 and W12. Two adopt it, one of them late; the owner frees the block and puts it into the index again.
fn two_adopters(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0, 1], lanes: 4 });

    pool.lane[3].row = Some(word(shared, "row", 3, row_word(1, 1)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    pool.begin_with_record(shared, 0, 2, 0, 2);
    {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(pool.lane[3].hw.0, 1);
        run.memory.begin_with(pool.lane[3].vw.0, 1);
    }
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    let adopter = |lane| {
        thread(shared, &pool, lane, |me| async move {
            me.adopt_intent(3).await?;
            me.release_row(3).await
        })
    };
    let owner = thread(shared, &pool, 0, |me| async move {
        for b in me.reclaim(0).await? {
            me.put(0, b, 3).await?;
        }
        Ok(())
    });
    vec![owner, adopter(1), adopter(2)]
}

/// Two find the slab of a dead owner with a block that was never published; who gets it uses the block.
fn two_sweepers(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 2, tables: 1, slots: 1, blocks: &[0], lanes: 2 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 7)));
    {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(pool.slab[0].alloc.0, 1);
        run.memory.begin_with(pool.block[0].meta.0, meta(0, 1));
    }
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    let adopter = |lane| {
        thread(shared, &pool, lane, |me| async move {
            if me.adopt_slab(0, 7).await? {
                for b in me.reclaim(0).await? {
                    me.put(0, b, 3).await?;
                }
            }
            Ok(())
        })
    };
    vec![adopter(0), adopter(1)]
}

/// A member dies right after W11. Its adopter has the block retired, the owner fills it again; another writer still sees it in the slot.
fn intent_and_writer(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 4, tables: 1, slots: 1, blocks: &[0], lanes: 4 });

    pool.lane[0].row = Some(word(shared, "row", 0, row_word(1, 1)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            let (cpu, lane) = (&me.cpu, me.pool.lane[0]);
            cpu.store_relaxed("store/edit.c:examine W6", lane.hw, 1).await?;
            cpu.store_release("store/edit.c:replace W10a", lane.vw, 1).await?;
            cpu.cas_seq_cst("store/edit.c:replace W11", me.pool.table[0].slot[0], record(1), 1).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move {
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 1, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 2, |me| async move {
            me.cpu.await_end(0).await?;
            me.adopt_intent(0).await?;
            me.release_row(0).await
        }),
        thread(shared, &pool, 3, |me| async move { me.edit(0, Change::Delete).await.map(|_| ()) }),
    ]
}

/// A living member is between W11 and W13; the owner of the block's slab is dead, its adopter sweeps, frees and reuses.
fn late_retire(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 2, tables: 1, slots: 1, blocks: &[0, 1], lanes: 2 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 7)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.put(0, 2, 2).await }),
        thread(shared, &pool, 1, |me| async move {
            if me.adopt_slab(0, 7).await? {
                for b in me.reclaim(0).await? {
                    me.put(0, b, 3).await?;
                }
            }
            me.cpu.await_end(0).await?;
            me.reclaim(0).await.map(|_| ())
        }),
    ]
}

/// The owner dies while it allocates, publishes, frees; whoever adopts its slab goes on with it.
fn owner_dies(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 2, tables: 1, slots: 1, blocks: &[0, 0], lanes: 2 });

    pool.lane[0].row = Some(word(shared, "row", 0, row_word(1, 1)));
    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    nothing_leaks(shared, &pool);
    vec![
        mortal(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.put(0, 1, 3).await
        }),
        thread(shared, &pool, 1, |me| async move {
            me.cpu.await_end(0).await?;
            me.adopt_intent(0).await?;
            me.adopt_slab(0, 0).await?;
            me.release_row(0).await?;
            let alloc = me.cpu.last(me.pool.slab[0].alloc);
            if let Some(b) = (1..=2).find(|b| alloc & me.block(*b).bit == 0) {
                me.put(0, b, 4).await?;
            }
            me.reclaim(0).await.map(|_| ())
        }),
    ]
}

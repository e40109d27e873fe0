// SPDX-License-Identifier: MIT
//! The root: a table is replaced by another, emptied, released, its memory
//! used again; readers and writers of the old one. A resize here goes to a
//! table of the same size.

use crate::cores::{everything_is_found, mortal, thread, Scenarios, BOTH, ONE};
use crate::cpu::{word, Mode};
use crate::explore::{Shared, Thread};
use crate::pool::*;
use crate::steps::edit::Change;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("reader", BOTH, reader),
    ("reader, told of a put", BOTH, reader_told),
    ("frozen slot, new root", BOTH, |shared, mode| frozen_slot(shared, mode, true, true)),
    ("frozen slot, new root, the long way", BOTH, |shared, mode| frozen_slot(shared, mode, true, false)),
    ("frozen slot, same root", BOTH, |shared, mode| frozen_slot(shared, mode, false, false)),
    ("published in the old table", ONE, published_in_old),
    ("reader and writer", ONE, reader_and_writer),
    ("two migrators", BOTH, two_migrators),
    ("writer inserts", BOTH, insert),
    ("reader of released memory", BOTH, released_reader),
    ("reader of reused memory", BOTH, reused_reader),
    ("reader of a reused entry", BOTH, reused_entry),
    ("entry changes hands", BOTH, entry_changes_hands),
    ("owner of the old table", BOTH, old_owner),
    ("writer and release", BOTH, released_writer),
    ("adoption asks for a record", BOTH, |shared, mode| adoption_asks(shared, mode, false)),
    ("adoption asks for a pending record", BOTH, |shared, mode| adoption_asks(shared, mode, true)),
    ("entry of the dead", BOTH, entry_of_the_dead),
];

fn pool(shared: &Shared, mode: Mode, threads: usize, slots: usize, blocks: &'static [usize]) -> Pool {
    Pool::new(shared, &Shape { mode, threads, tables: 2, slots, blocks, lanes: threads }).with_index(shared, 0)
}

/// A reader, and one resize.
fn reader(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The bucket is brought to life by a put, which is told, before the resize ends.
fn reader_told(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0, 0]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            let root = me.table_enter().await?;
            me.resize_begin(&root, 2, 1).await?;
            me.returns(0);
            me.put(0, 2, 2).await?;
            me.tell(0).await?;
            let root = me.table_enter().await?;
            me.resize_end(&root).await
        }),
        thread(shared, &pool, 1, |me| async move { me.get_as_told(0).await }),
    ]
}

/// All three at once: a writer meets the resize, and may have to bring its bucket to life; a reader is told of the put.
fn reader_and_writer(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 3, 1, &[0, 1]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move {
            me.put(0, 2, 2).await?;
            me.tell(0).await
        }),
        thread(shared, &pool, 2, |me| async move { me.get_as_told(0).await }),
    ]
}

/// The record is put over in the new table, its old block filled again for a put that is not over. The old
/// slot names it for ever. With the resize at its end, or still under way.
fn frozen_slot(shared: &Shared, mode: Mode, ends: bool, fast: bool) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0, 0]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, move |me| async move {
            let root = me.table_enter().await?;
            me.resize_begin(&root, 2, 1).await?;
            me.returns(0);
            if ends {
                let root = me.table_enter().await?;
                me.resize_end(&root).await?;
                me.returns(0);
            }
            me.put(0, 2, 2).await?;
            for b in me.reclaim(0).await? {
                me.take_block(b).await?;
                me.fill(b, 0, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, move |me| async move {
            if fast { me.get(0, 0).await } else { me.get_the_long_way(0).await }.map(|_| ())
        }),
    ]
}

/// Put over in the old table by one, moved by another, deleted in the new table by a third.
fn published_in_old(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 3, 1, &[1, 1]);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 2, 2).await }),
        thread(shared, &pool, 2, |me| async move {
            let root = me.pool.index.as_ref().unwrap().root;
            me.cpu.await_acquire("the new root", root, |root| root_prev(root) == 0 && root_cur(root) == 2).await?;
            me.returns(0);
            me.edit(0, Change::Delete).await.map(|_| ())
        }),
    ]
}

/// Two bring the same bucket to life; one of them changes the record then.
fn two_migrators(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 2, &[0, 1]));

    pool.begin_with_record(shared, 1, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move {
            me.edit(0, Change::Delete).await?;
            me.put(0, 2, 2).await
        }),
    ]
}

/// A put of an absent key meets the resize, which may have to help it.
fn insert(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[1]));

    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 1, 1).await }),
    ]
}

/// The old table is released; another lane takes its memory and zeroes it for a table of its own.
fn released_reader(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 3, 1, &[0]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.resize(2, 1).await?;
            me.table_enter().await?;
            me.tables_tend(1, 0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move { me.make_table(1, 0, 9).await.map(|_| ()) }),
        thread(shared, &pool, 2, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The same memory, and id, is the root's table again.
fn reused_reader(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0, 0]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.resize(2, 1).await?;
            me.put(0, 2, 2).await?;
            if me.tables_tend(1, 0).await? && me.claim_entry(1).await? {
                me.resize(1, 0).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The directory entry is used again, for a table at another place.
fn reused_entry(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let shape = Shape { mode, threads: 2, tables: 3, slots: 1, blocks: &[0], lanes: 2 };
    let pool = Pool::new(shared, &shape).with_index(shared, 0);

    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.resize(2, 1).await?;
            me.table_enter().await?;
            me.returns(0);
            if me.tables_tend(1, 0).await? && me.claim_entry(1).await? {
                me.resize(1, 2).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// One lets an old table go, another takes its directory entry for the next table.
fn entry_changes_hands(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let shape = Shape { mode, threads: 2, tables: 3, slots: 1, blocks: &[0], lanes: 2 };
    let pool = Pool::new(shared, &shape).with_index(shared, 0);
    let index = pool.index.as_ref().unwrap();

    pool.begin_with_record(shared, 0, 1, 0, 1);
    {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(index.root.0, root_make(2, 0, 2));
        run.memory.begin_with(index.place[1].0, 2);
        run.memory.begin_with(index.born[1].0, 2);
        run.memory.begin_with(pool.table[0].slot[0].0, SLOT_FROZEN | record(1));
        run.memory.begin_with(pool.table[1].slot[0].0, record(1));
        run.memory.begin_with(pool.table[1].ctrl.0 .0, ctrl_next(0, IDLE, 0));
    }
    let pool = Rc::new(pool);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.tables_tend(1, 0).await.map(|_| ()) }),
        thread(shared, &pool, 1, |me| async move {
            if me.claim_entry(1).await? {
                me.resize(1, 2).await?;
            }
            Ok(())
        }),
    ]
}

/// One replaces the root's table (there is nothing to migrate), its owner lets it go, a writer has entered it.
fn old_owner(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = pool(shared, mode, 3, 1, &[2]);
    let index = pool.index.as_ref().unwrap();

    {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(pool.table[1].ctrl.0 .0, ctrl_next(0, IDLE, 0));
        run.memory.begin_with(index.place[1].0, 2);
        run.memory.begin_with(index.born[1].0, 2);
    }
    let root = index.root;
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.tables_tend(1, 0).await.map(|_| ()) }),
        thread(shared, &pool, 1, move |me| async move {
            me.cpu
                .cas_seq_cst("store/resize.c:migrate_slice R11", root, root_make(1, 0, 1), root_make(2, 0, 2))
                .await
                .map(|_| ())
        }),
        thread(shared, &pool, 2, |me| async move { me.put(0, 1, 1).await }),
    ]
}

/// A writer is at work in a table that is replaced and released.
fn released_writer(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let pool = Rc::new(pool(shared, mode, 2, 1, &[0, 1]));

    pool.begin_with_record(shared, 0, 1, 0, 1);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.resize(2, 1).await?;
            me.table_enter().await?;
            me.returns(0);
            me.tables_tend(1, 0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move { me.put(0, 2, 2).await }),
    ]
}

/// A member has died after its insert, or with it still pending; its slab is swept while the index grows.
fn adoption_asks(shared: &Shared, mode: Mode, pending: bool) -> Vec<Thread> {
    let mut pool = pool(shared, mode, 2, 1, &[0]);

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 7)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    if pending {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(pool.table[0].slot[0].0, 0);
        run.memory.begin_with(pool.table[0].ctrl.0 .0, ctrl_next(0, PENDING, 0));
        run.memory.begin_with(pool.table[0].ctrl.1 .0, record(1));
    }
    let pool = Rc::new(pool);
    everything_is_found(shared, &pool);
    vec![
        thread(shared, &pool, 0, |me| async move { me.resize(2, 1).await }),
        thread(shared, &pool, 1, |me| async move { me.adopt_slab(0, 7).await.map(|_| ()) }),
    ]
}

/// Somebody makes a table, under a directory entry of its own, and may die; another one wants an entry.
fn entry_of_the_dead(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = pool(shared, mode, 3, 1, &[0]);

    pool.lane[0].row = Some(word(shared, "row", 0, row_word(1, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    everything_is_found(shared, &pool);
    vec![
        mortal(shared, &pool, 0, |me| async move {
            me.join_row().await?;
            if me.claim_entry(2).await? {
                me.resize(2, 1).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 1, |me| async move { me.claim_entry(2).await.map(|_| ()) }),
        thread(shared, &pool, 2, |me| async move {
            me.cpu.await_end(0).await?;
            let row = me.pool.lane[0].row.unwrap();
            me.cpu.cas_seq_cst("shm/adopt.c:ltz__adopt row", row, row_word(2, 1), row_word(2, 0)).await.map(|_| ())
        }),
    ]
}

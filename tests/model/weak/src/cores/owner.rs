// SPDX-License-Identifier: MIT
//! Owner words: an extent is emptied, released, taken by another lane and
//! formed anew, while somebody late still knows a block in it.

use crate::cores::{thread, Scenarios, BOTH, ONE};
use crate::cpu::{word, Cpu, Mode, Word};
use crate::explore::{Shared, Thread, R};
use crate::pool::*;
use crate::steps::edit::Change;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("late reader", BOTH, late_reader),
    ("late reader of a part, due word", BOTH, |shared, mode| late_reader_of_part(shared, mode, 0)),
    ("late reader of a part, alloc word", BOTH, |shared, mode| late_reader_of_part(shared, mode, 1)),
    ("late reader of a part, retired word", BOTH, |shared, mode| late_reader_of_part(shared, mode, 2)),
    ("late reader, other class", BOTH, late_reader_other_class),
    ("late recovery", BOTH, late_recovery),
    ("claim, release, teardown, commit", ONE, granules),
];

/// A copying reader, while the block's slab goes to another lane, which fills the same memory.
fn late_reader(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0, 1], lanes: 3 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.release(0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move {
            if me.make_extent(0).await? {
                me.take_block(1).await?;
                me.fill(1, 0, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 2, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The same with a block that reaches into a further granule, which becomes the head of an extent of its own:
/// where the value was there is a header now, and in it this word.
fn late_reader_of_part(shared: &Shared, mode: Mode, header_word: usize) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0, 1], lanes: 3 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    let mut header = [word(shared, "due", 2, 0), word(shared, "alloc", 2, 0), word(shared, "retired", 2, 0)];
    header[header_word] = pool.block[0].value;
    pool.slab.push(Slab { alloc: header[1], retired: header[2], owner: pool.slab[0].owner });
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.release(0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, move |me| async move { me.make_extent_at(2, Some(header[0])).await.map(|_| ()) }),
        thread(shared, &pool, 2, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// The same, and the new slab has blocks of another size: where the value was is a version word now, that is
/// set to 0, to a version, and to 0 again.
fn late_reader_other_class(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 2, blocks: &[0, 1], lanes: 3 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    pool.slab.push(Slab {
        alloc: word(shared, "alloc", 2, 0),
        retired: word(shared, "retired", 2, 0),
        owner: pool.slab[0].owner,
    });
    let (meta, value) = (word(shared, "meta", 3, 0), word(shared, "value", 3, 0));
    pool.block.push(Block { version: pool.block[0].value, meta, value, slab: 2, bit: 4 });
    pool.begin_with_record(shared, 0, 1, 0, 1);
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.put(0, 2, 2).await?;
            me.reclaim(0).await?;
            me.release(0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move {
            if me.make_extent(2).await? {
                me.put(1, 3, 5).await?;
                me.edit(1, Change::Delete).await?;
                me.reclaim(2).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 2, |me| async move { me.get(0, 0).await.map(|_| ()) }),
    ]
}

/// A member died between W11 and W12. One adopter has it retired, the owner frees the block and lets the
/// slab go; a second adopter is late with the same intent while another lane forms the slab anew.
fn late_recovery(shared: &Shared, mode: Mode) -> Vec<Thread> {
    let mut pool = Pool::new(shared, &Shape { mode, threads: 3, tables: 1, slots: 1, blocks: &[0, 1], lanes: 4 });

    pool.slab[0].owner = Some(word(shared, "owner", 0, owner_make(OWNER_SLAB, 0)));
    pool.begin_with_record(shared, 0, 1, 0, 1);
    pool.begin_with_record(shared, 0, 2, 0, 2);
    {
        let mut run = shared.borrow_mut();
        run.memory.begin_with(pool.lane[3].hw.0, 1);
        run.memory.begin_with(pool.lane[3].vw.0, 1);
        run.memory.begin_with(pool.slab[0].retired.0, 1); /* the first adopter's */
        run.memory.begin_with(pool.block[1].value.0, value(2));
    }
    pool.lane[3].row = Some(word(shared, "row", 3, row_word(1, 0)));
    let pool = Rc::new(pool);
    vec![
        thread(shared, &pool, 0, |me| async move {
            me.reclaim(0).await?;
            me.release(0).await.map(|_| ())
        }),
        thread(shared, &pool, 1, |me| async move {
            let owner = me.pool.slab[0].owner.unwrap();
            if !me.claim(owner).await? {
                return Ok(());
            }
            /* it is something else for a while: bytes that look like the dead one's block */
            me.cpu.store_relaxed("bytes", me.pool.slab[0].alloc, 1).await?;
            me.cpu.store_relaxed("bytes", me.block(1).version, 1).await?;
            me.cpu
                .cas_seq_cst("shm/granule.c:ltz__granules_release head", owner, owner_make(OWNER_CLAIM, 1), OWNER_FREE)
                .await?;
            if me.make_extent(0).await? {
                me.take_block(1).await?;
                me.fill(1, 0, 3).await?;
            }
            Ok(())
        }),
        thread(shared, &pool, 2, |me| async move { me.adopt_intent(3).await }),
    ]
}

/* ---- granules that go round: no blocks, only who may write where ------------------------ */

const VIRGIN: u64 = 0;
const PART: u64 = 3; /* of the extent whose head is granule 0 */
const CLAIM: u64 = OWNER_CLAIM;

fn claim_of(lane: u64) -> u64 {
    (lane + 1) << 20 | CLAIM
}

#[derive(Clone, Copy)]
struct Granules {
    owner: [Word; 2],
    memory: [Word; 2],
}

impl Granules {
    /// Whoever holds a granule writes into it and finds what it wrote.
    async fn use_it(&self, cpu: &Cpu, g: usize, mark: u64) -> R<()> {
        cpu.store_relaxed("its memory", self.memory[g], mark).await?;
        let found = cpu.load_relaxed("its memory", self.memory[g]).await?;
        cpu.check(found == mark, "two had one granule")
    }

    /// shm/granule.c:claim_at of both.
    async fn claim_both(&self, cpu: &Cpu, lane: u64) -> R<bool> {
        let [head, part] = self.owner;

        if cpu.load_acquire("shm/granule.c:claim_at owner", head).await? != OWNER_FREE
            || !cpu.cas_seq_cst("shm/granule.c:claim_at", head, OWNER_FREE, claim_of(lane)).await?
        {
            return Ok(false);
        }
        if cpu.load_acquire("shm/granule.c:claim_at part", part).await? == OWNER_FREE
            && cpu.cas_seq_cst("shm/granule.c:claim_at part", part, OWNER_FREE, PART).await?
        {
            return Ok(true);
        }
        cpu.cas_seq_cst("shm/granule.c:claim_at back", head, claim_of(lane), OWNER_FREE).await?;
        Ok(false)
    }

    /// shm/granule.c:ltz__granules_release of both.
    async fn release_both(&self, cpu: &Cpu, lane: u64) -> R<()> {
        let [head, part] = self.owner;
        let head_first = cpu.broken("shm/granule.c:ltz__granules_release", "head before parts");

        if head_first {
            cpu.cas_seq_cst("shm/granule.c:ltz__granules_release head", head, claim_of(lane), OWNER_FREE).await?;
        }
        cpu.cas_seq_cst("shm/granule.c:free_parts", part, PART, OWNER_FREE).await?;
        if !head_first {
            cpu.cas_seq_cst("shm/granule.c:ltz__granules_release head", head, claim_of(lane), OWNER_FREE).await?;
        }
        Ok(())
    }

    /// shm/adopt.c:adopt_granule of the head, then shm/granule.c:ltz__granules_teardown.
    async fn tear_down(&self, cpu: &Cpu, lane: u64, dead: u64) -> R<()> {
        let [head, part] = self.owner;

        if cpu.load_acquire("shm/adopt.c:adopt_granule owner", head).await? != claim_of(dead)
            || !cpu.cas_seq_cst("shm/adopt.c:adopt_granule", head, claim_of(dead), claim_of(lane)).await?
        {
            return Ok(());
        }
        cpu.cas_seq_cst("shm/granule.c:free_parts", part, PART, OWNER_FREE).await?;
        self.use_it(cpu, 0, 0).await?; /* the kernel's zeros */
        cpu.cas_seq_cst("shm/granule.c:ltz__granules_teardown", head, claim_of(lane), VIRGIN).await.map(|_| ())
    }

    /// shm/granule.c:claim_virgins, shm/granule.c:turn_claims, shm/granule.c:claim_at of one; used; given back.
    async fn take_one(&self, cpu: &Cpu, lane: u64, g: usize) -> R<()> {
        let owner = self.owner[g];

        if cpu.load_acquire("shm/granule.c:claim_virgins owner", owner).await? == VIRGIN
            && cpu.cas_seq_cst("shm/granule.c:claim_virgins", owner, VIRGIN, claim_of(lane)).await?
        {
            cpu.cas_seq_cst("shm/granule.c:turn_claims", owner, claim_of(lane), OWNER_FREE).await?;
        }
        if cpu.load_acquire("shm/granule.c:claim_at owner", owner).await? == OWNER_FREE
            && cpu.cas_seq_cst("shm/granule.c:claim_at", owner, OWNER_FREE, claim_of(lane)).await?
        {
            self.use_it(cpu, g, lane + 1).await?;
            cpu.cas_seq_cst("shm/granule.c:ltz__granules_release head", owner, claim_of(lane), OWNER_FREE).await?;
        }
        Ok(())
    }
}

/// One takes two granules and gives them back, and may die; one settles it then; one takes what is there.
fn granules(shared: &Shared, _: Mode) -> Vec<Thread> {
    let owner = [0, 1].map(|g| word(shared, "owner", g, OWNER_FREE));
    let memory = [0, 1].map(|g| word(shared, "memory", g, 0));
    let granules = Granules { owner, memory };
    let cpus = [Cpu::mortal(shared), Cpu::new(shared), Cpu::new(shared)];
    let [dying, adopter, taker] = cpus;

    shared.borrow_mut().finally(move |run| {
        let [head, part] = owner.map(|owner| run.memory.last(owner.0));
        let settled = |word| word == OWNER_FREE || word == VIRGIN;
        if settled(head) && settled(part) {
            Ok(())
        } else {
            Err(format!("left over: {head:#x}, {part:#x}"))
        }
    });
    vec![
        Box::pin(async move {
            if granules.claim_both(&dying, 0).await? {
                granules.use_it(&dying, 0, 1).await?;
                granules.use_it(&dying, 1, 1).await?;
                granules.release_both(&dying, 0).await?;
            }
            Ok(())
        }),
        Box::pin(async move {
            adopter.await_end(0).await?;
            granules.tear_down(&adopter, 1, 0).await
        }),
        Box::pin(async move {
            granules.take_one(&taker, 2, 1).await?;
            granules.take_one(&taker, 2, 0).await
        }),
    ]
}

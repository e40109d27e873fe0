// SPDX-License-Identifier: MIT
//! The words of a small pool, as src/shm/format.h has them, and what checks must know.

use crate::cpu::{word, Cpu, Mode, Word};
use crate::explore::{Run, Shared};
use crate::memory::{Digest, THREADS};
use std::cell::Cell;
use std::rc::Rc;

/* ---- words ------------------------------------------------------------------- */

pub const SLOT_FROZEN: u64 = 1 << 63;
pub const SLOT_RECORD: u64 = 1 << 62;

/// A slot word that names block `b`. All keys of a scenario have the same hash bits.
pub fn record(b: usize) -> u64 {
    SLOT_RECORD | b as u64
}
pub fn is_record(word: u64) -> bool {
    word & SLOT_RECORD != 0
}
/// The block that a slot word names.
pub fn block_of(word: u64) -> usize {
    (word & 0xff) as usize
}

pub const UNBORN: u64 = 0;
pub const IDLE: u64 = 1;
pub const PENDING: u64 = 2;
pub const FROZEN: u64 = 3;

pub fn ctrl_state(a: u64) -> u64 {
    a >> 8 & 3
}
pub fn ctrl_slot(a: u64) -> usize {
    (a & 0xff) as usize
}
pub fn ctrl_next(a: u64, state: u64, slot: usize) -> u64 {
    ((a >> 10) + 1) << 10 | state << 8 | slot as u64
}

/// Tables by their id in the directory; 0: none.
pub fn root_make(cur: usize, prev: usize, gen: u64) -> u64 {
    gen << 32 | (prev as u64) << 16 | cur as u64
}
pub fn root_cur(root: u64) -> usize {
    (root & 0x7ff) as usize
}
pub fn root_prev(root: u64) -> usize {
    (root >> 16 & 0x7ff) as usize
}
pub fn root_gen(root: u64) -> u64 {
    root >> 32
}

/// Owner words: kind and label, which here is the lane's number.
pub const OWNER_FREE: u64 = 1;
pub const OWNER_CLAIM: u64 = 2;
pub const OWNER_SLAB: u64 = 4;
pub const OWNER_TABLE: u64 = 6;

pub fn owner_kind(word: u64) -> u64 {
    word & 7
}
pub fn owner_make(kind: u64, lane: usize) -> u64 {
    (lane as u64 + 1) << 20 | kind
}

pub fn row_word(generation: u64, up: u64) -> u64 {
    generation << 1 | up
}
pub fn row_up(word: u64) -> bool {
    word & 1 != 0
}

/// A record's meta word: its key, and the version it belongs to, so that a mixture shows.
pub fn meta(key: u64, version: u64) -> u64 {
    version << 8 | 1 << 4 | key
}
pub fn meta_key(meta: u64) -> u64 {
    meta & 0xf
}
pub fn value(version: u64) -> u64 {
    version << 8 | 2 << 4
}
pub fn version_of(content: u64) -> u64 {
    content >> 8
}

/* ---- structures ------------------------------------------------------------------ */

#[derive(Clone, Copy)]
pub struct Block {
    pub version: Word,
    pub meta: Word,
    pub value: Word,
    pub slab: usize,
    pub bit: u64,
}

/// The bitmap words of an extent's header, and the owner word of its granule.
#[derive(Clone, Copy)]
pub struct Slab {
    pub alloc: Word,
    pub retired: Word,
    /// None: the extent stays what it is, and no step looks.
    pub owner: Option<Word>,
}

#[derive(Clone, Copy)]
pub struct Lane {
    pub hw: Word,
    pub vw: Word,
    pub hr: Word,
    pub th: Word,
    /// The word of its row. None: it is up for ever, and no step looks.
    pub row: Option<Word>,
    /// Its row's lanes_used, likewise.
    pub used: Option<Word>,
}

/// A table of one bucket.
#[derive(Clone)]
pub struct Bucket {
    pub ctrl: (Word, Word),
    pub slot: Vec<Word>,
    /// None: the bucket never needs one, and no step looks.
    pub line: Option<Line>,
}

/// The one line that the table has.
#[derive(Clone, Copy)]
pub struct Line {
    pub link: Word,
    pub slot: Word,
    /// The table's lines word: 1 once the line is taken.
    pub lines: Word,
}

/// The root word, the directory entry of each table id, and the owner word of each table's granule.
pub struct Index {
    pub root: Word,
    pub claim: Vec<Word>,
    pub place: Vec<Word>,
    pub born: Vec<Word>,
    pub owner: Vec<Word>,
}

pub struct Pool {
    pub mode: Mode,
    pub threads: usize,
    /// None: the scenario has one table for ever, and no step looks at the root.
    pub index: Option<Index>,
    /// By place - 1.
    pub table: Vec<Bucket>,
    /// By ref - 1.
    pub block: Vec<Block>,
    pub slab: Vec<Slab>,
    /// Of rows that are up all the time.
    pub lane: Vec<Lane>,
    /// The due word of the first slab's extent. None: its records do not expire.
    pub due: Option<Word>,
    /// Tells another thread that a change was made: its number.
    pub told: Word,
}

pub struct Shape {
    pub mode: Mode,
    pub threads: usize,
    pub tables: usize,
    pub slots: usize,
    /// Which slab each block is of.
    pub blocks: &'static [usize],
    pub lanes: usize,
}

impl Pool {
    /// Blocks are free, slots empty, the first table's bucket IDLE; others are UNBORN.
    pub fn new(shared: &Shared, shape: &Shape) -> Pool {
        let w = |name, number, value| word(shared, name, number, value);
        let slabs = shape.blocks.iter().max().map_or(0, |most| most + 1);
        let table = (0..shape.tables)
            .map(|t| Bucket {
                ctrl: (w("ctrl.a", t, if t == 0 { ctrl_next(0, IDLE, 0) } else { UNBORN }), w("ctrl.b", t, 0)),
                slot: (0..shape.slots).map(|i| w("slot", 10 * t + i, 0)).collect(),
                line: None,
            })
            .collect();
        let block = (0..shape.blocks.len())
            .map(|i| Block {
                version: w("version", i + 1, 0),
                meta: w("meta", i + 1, 0),
                value: w("value", i + 1, 0),
                slab: shape.blocks[i],
                bit: 1 << i,
            })
            .collect();
        let slab =
            (0..slabs).map(|s| Slab { alloc: w("alloc", s, 0), retired: w("retired", s, 0), owner: None }).collect();
        let lane = (0..shape.lanes)
            .map(|l| Lane {
                hw: w("hw", l, 0),
                vw: w("vw", l, 0),
                hr: w("hr", l, 0),
                th: w("th", l, 0),
                row: None,
                used: None,
            })
            .collect();
        let told = w("told", 0, 0);

        shared.borrow_mut().ghosts = vec![0; GHOSTS];
        Pool { mode: shape.mode, threads: shape.threads, index: None, table, block, slab, lane, due: None, told }
    }

    /// The first table, id 1, is that of the root; it is lane `lane`'s. Others' memory is FREE.
    pub fn with_index(mut self, shared: &Shared, lane: usize) -> Pool {
        let ids = 0..self.table.len();
        let w = |name, number, value| word(shared, name, number, value);

        self.index = Some(Index {
            root: w("root", 0, root_make(1, 0, 1)),
            claim: ids.clone().map(|i| w("claim", i + 1, if i == 0 { lane as u64 + 1 } else { 0 })).collect(),
            place: ids.clone().map(|i| w("place", i + 1, (i == 0) as u64)).collect(),
            born: ids.clone().map(|i| w("born", i + 1, (i == 0) as u64)).collect(),
            owner: ids
                .map(|i| w("owner of table", i, if i == 0 { owner_make(OWNER_TABLE, lane) } else { OWNER_FREE }))
                .collect(),
        });
        self
    }

    /// Before anybody runs: block b holds this record and slot i of the first table names it.
    pub fn begin_with_record(&self, shared: &Shared, i: usize, b: usize, key: u64, version: u64) {
        let block = self.block[b - 1];
        let slab = self.slab[block.slab];
        let mut run = shared.borrow_mut();
        let alloc = run.memory.last(slab.alloc.0) | block.bit;

        run.memory.begin_with(block.version.0, version);
        run.memory.begin_with(block.meta.0, meta(key, version));
        run.memory.begin_with(block.value.0, value(version));
        run.memory.begin_with(slab.alloc.0, alloc);
        run.memory.begin_with(self.table[0].slot[i].0, record(b));
        run.ghosts[key as usize * PER_KEY] = 0;
        run.ghosts[key as usize * PER_KEY + 1] = version;
    }
}

/// One lane of a process at work: the steps of the C functions are its methods (steps/).
pub struct Member {
    pub cpu: Rc<Cpu>,
    pub pool: Rc<Pool>,
    pub lane: usize,
    /// struct ltz_lane's th: what the lane's hazard holds.
    pub th: Cell<u64>,
    /// The calls that have returned, and what, as a number.
    script: Cell<u64>,
    /// That, and how often the present call has begun.
    call: Cell<u64>,
}

impl Member {
    pub fn new(cpu: &Rc<Cpu>, pool: &Rc<Pool>, lane: usize) -> Member {
        Member {
            cpu: cpu.clone(),
            pool: pool.clone(),
            lane,
            th: Cell::new(0),
            script: Cell::new(0),
            call: Cell::new(0),
        }
    }

    /// A call begins, or begins anew, for the `attempt`-th time: what it has read before is of no
    /// consequence from here on.
    pub fn begins(&self, attempt: usize) {
        self.call.set(mix(&[self.script.get(), self.th.get(), attempt as u64]));
        self.cpu.forget(self.call.get());
    }

    /// In a call, at a place that the first number names: of what this attempt has read, only these still matter.
    pub fn needs(&self, live: &[u64]) {
        self.cpu.forget(mix(live) ^ mix(&[self.call.get(), self.th.get()]));
    }

    /// A call returns: of what it has read only the result is left.
    pub fn returns(&self, result: u64) {
        self.script.set(mix(&[self.script.get(), result]));
        self.begins(0);
    }

    pub fn block(&self, b: usize) -> Block {
        self.pool.block[b - 1]
    }

    pub fn slab_of(&self, b: usize) -> Slab {
        self.pool.slab[self.block(b).slab]
    }

    /// Does any table's slot or pending insert name the block, by the last values? For checks.
    pub fn is_linked(&self, b: usize) -> bool {
        self.pool.table.iter().any(|bucket| {
            let names = |word| {
                let last = self.cpu.last(word);
                is_record(last) && last & SLOT_FROZEN == 0 && block_of(last) == b
            };
            names(bucket.ctrl.1)
                || bucket.slot.iter().chain(bucket.line.iter().map(|line| &line.slot)).any(|&slot| names(slot))
        })
    }
}

fn mix(values: &[u64]) -> u64 {
    let mut digest = Digest::new();

    for &value in values {
        digest.add(value);
    }
    digest.end() as u64
}

/* ---- what happened to a key: ghosts ------------------------------------------------- */

pub const KEYS: usize = 2;
const CHANGES: usize = 10;
const PER_KEY: usize = CHANGES + 1;
const FILLING: usize = KEYS * PER_KEY;
const RELEASED: usize = FILLING + THREADS;
const GHOSTS: usize = RELEASED + 1;

/// Notes that the table at that place is nobody's any more.
pub fn note_released(cpu: &Cpu, place: usize) {
    cpu.set_ghost(RELEASED, cpu.ghost(RELEASED) | 1 << place);
}

/// Was the table at that place ever released?
pub fn is_released(cpu: &Cpu, place: usize) -> bool {
    cpu.ghost(RELEASED) & 1 << place != 0
}

/// Notes which block the thread has, that nobody else may know of; 0: none.
pub fn note_filling(cpu: &Cpu, b: usize) {
    cpu.set_ghost(FILLING + cpu.thread, b as u64);
}

/// Is a living thread filling the block?
pub fn is_filled(cpu: &Cpu, b: usize) -> bool {
    (0..THREADS).any(|thread| cpu.ghost(FILLING + thread) == b as u64 && !cpu.run(|run| run.ended[thread]))
}

/// Notes that the key has this version from now on (0: it is absent). At its linearisation point.
pub fn note_change(cpu: &Cpu, key: u64, version: u64) {
    let base = key as usize * PER_KEY;
    let number = cpu.ghost(base) + 1;

    assert!((number as usize) < CHANGES, "too many changes");
    cpu.set_ghost(base, number);
    cpu.set_ghost(base + 1 + number as usize, version);
}

/// The key's version by its last change.
pub fn last_change(run: &Run, key: u64) -> u64 {
    let base = key as usize * PER_KEY;

    run.ghosts[base + 1 + run.ghosts[base] as usize]
}

/// The number of the key's last change.
pub fn changes(cpu: &Cpu, key: u64) -> u64 {
    cpu.ghost(key as usize * PER_KEY)
}

/// The last change, number `since` or later, that gave the key this version (0: absent).
pub fn change_to(cpu: &Cpu, key: u64, version: u64, since: u64) -> Option<u64> {
    (since..=changes(cpu, key)).rev().find(|&number| cpu.ghost(key as usize * PER_KEY + 1 + number as usize) == version)
}

// SPDX-License-Identifier: MIT
//! src/store/edit.c: PUT and DELETE.

use crate::cpu::Word;
use crate::explore::R;
use crate::pool::*;
use crate::steps::expiry::expiry_of;
use crate::steps::table::Root;

/// The steps as often as this after lost races; a run that needs more is left without a verdict.
const TRIES: usize = 3;

#[derive(Clone, Copy)]
pub enum Change {
    /// Block and version, filled already.
    Put(usize, u64),
    Delete,
}

struct Find {
    root: Root,
    a: u64,
    found: Option<Old>,
    empty: Option<usize>,
}

struct Old {
    slot: Word,
    word: u64,
    meta: u64,
}

enum Looked {
    Restart,
    Mine(u64),
    Other,
}

impl Member {
    /// store/edit.c:fill
    pub async fn fill(&self, b: usize, key: u64, version: u64) -> R<()> {
        let (cpu, block) = (&self.cpu, self.block(b));

        let early = cpu.broken("store/edit.c:fill version", "before content");
        if early {
            cpu.store_release("store/edit.c:fill version", block.version, version).await?;
        }
        cpu.store_relaxed("store/edit.c:fill meta", block.meta, meta(key, version)).await?;
        cpu.store_relaxed("store/edit.c:fill value", block.value, value(version)).await?;
        if !early {
            cpu.store_release("store/edit.c:fill version", block.version, version).await?;
        }
        if self.pool.due.is_some() {
            self.due_announce(expiry_of(meta(key, version))).await?;
        }
        Ok(())
    }

    /// store/edit.c:examine: W6 to W8.
    async fn examine(&self, key: u64, slot: Word, word: u64, ctrl: Word, a: u64) -> R<Looked> {
        let (cpu, lane) = (&self.cpu, self.pool.lane[self.lane]);
        let b = block_of(word);

        if !cpu.broken("store/edit.c:examine W6", "no hazard") {
            cpu.store_relaxed("store/edit.c:examine W6", lane.hw, b as u64).await?;
        }
        cpu.fence_hazard(self.pool.mode, "store/edit.c:examine W6").await?;
        if cpu.broken("store/edit.c:decide_and_publish W9", "before W7")
            && cpu.load_acquire("store/edit.c:decide_and_publish W9", ctrl).await? != a
        {
            return Ok(Looked::Restart);
        }
        if !cpu.broken("store/edit.c:examine W7", "left out")
            && cpu.load_acquire("store/edit.c:examine W7", slot).await? != word
        {
            return Ok(Looked::Restart);
        }
        let found = cpu.load_relaxed("store/edit.c:examine W8 meta", self.block(b).meta).await?;
        let value = cpu.load_relaxed("store/edit.c:examine W8 value", self.block(b).value).await?;
        cpu.check(
            version_of(found) == version_of(value) && version_of(value) != 0,
            "a block changed under a validated hazard",
        )?;
        Ok(if meta_key(found) == key { Looked::Mine(found) } else { Looked::Other })
    }

    /// store/edit.c:find: W1 to W8. None: restart.
    async fn find(&self, key: u64) -> R<Option<Find>> {
        let cpu = &self.cpu;
        let root = self.table_enter().await?;
        let bucket = &self.pool.table[root.cur];
        let a = loop {
            /* W4 */
            let a = cpu.load_acquire("store/edit.c:find W4", bucket.ctrl.0).await?;
            match ctrl_state(a) {
                IDLE => break a,
                PENDING => {
                    let b = cpu.load_acquire("store/edit.c:settle_bucket W4 b", bucket.ctrl.1).await?;
                    self.help(bucket, a, b).await?;
                }
                UNBORN if root.prev.is_some() => self.migrate(&root).await?,
                _ => return Ok(None),
            }
            self.needs(&[2, root.live()]);
        };
        let mut find = Find { root, a, found: None, empty: None };
        let mut slots = bucket.slot.clone();
        let mut i = 0;

        loop {
            self.needs(&[1, find.root.live(), a, i as u64, find.empty.map_or(99, |i| i as u64)]);
            if i == bucket.slot.len() && i == slots.len() {
                if let Some(line) = bucket.line {
                    if cpu.load_relaxed("store/edit.c:find link", line.link).await? != 0 {
                        slots.extend(self.walk_next(bucket).await?);
                    }
                }
            }
            if i == slots.len() {
                return Ok(Some(find));
            }
            let w = cpu.load_acquire("store/edit.c:find_in W5", slots[i]).await?;

            if w & SLOT_FROZEN != 0 {
                return Ok(None);
            }
            if is_record(w) {
                match self.examine(key, slots[i], w, bucket.ctrl.0, a).await? {
                    Looked::Restart => return Ok(None),
                    Looked::Mine(meta) => {
                        find.found = Some(Old { slot: slots[i], word: w, meta });
                        return Ok(Some(find));
                    }
                    Looked::Other => (),
                }
            } else if find.empty.is_none() {
                find.empty = Some(i);
            }
            i += 1;
        }
    }

    /// store/edit.c:decide_and_publish and store/edit.c:replace for a key that was found. false: restart.
    async fn replace(&self, key: u64, find: &Find, old: &Old, change: Change) -> R<bool> {
        let (cpu, lane) = (&self.cpu, self.pool.lane[self.lane]);
        let b = block_of(old.word);

        if !cpu.broken("store/edit.c:decide_and_publish W9", "left out")
            && !cpu.broken("store/edit.c:decide_and_publish W9", "before W7")
            && cpu.load_acquire("store/edit.c:decide_and_publish W9", self.pool.table[find.root.cur].ctrl.0).await?
                != find.a
        {
            return Ok(false);
        }
        self.needs(&[3, find.root.live(), old.slot.0 as u64, old.word, old.meta]);
        let version = cpu.load_acquire("store/edit.c:decide_and_publish W10", self.block(b).version).await?;
        if version == 0 {
            return Ok(false);
        }
        cpu.check(version == version_of(old.meta), "a block's version is not its content's, under a validated hazard")?;
        let (to, after) = match change {
            Change::Put(block, version) => (record(block), version),
            Change::Delete => (version, 0),
        };
        let late = cpu.broken("store/edit.c:replace W10a", "after W11");
        if !late {
            cpu.store_release("store/edit.c:replace W10a", lane.vw, version).await?;
        }
        if !cpu.cas_seq_cst("store/edit.c:replace W11", old.slot, old.word, to).await? {
            return Ok(false);
        }
        note_change(cpu, key, after);
        if let Change::Put(..) = change {
            note_filling(cpu, 0);
        }
        cpu.check(cpu.last(self.block(b).version) == version, "W11 replaced another life of the block")?;
        if late {
            cpu.store_release("store/edit.c:replace W10a", lane.vw, version).await?;
        }
        self.needs(&[4, find.root.live(), b as u64]);
        if cpu.broken("store/edit.c:ltz__edit W13", "before W12") {
            cpu.store_release("store/edit.c:ltz__edit W13", lane.hw, 0).await?;
        }
        self.block_retire(b).await?;
        Ok(true)
    }

    /// store/edit.c:insert: W20; or store/edit.c:make_room. false: restart.
    async fn insert(&self, key: u64, find: &Find, block: usize, version: u64) -> R<bool> {
        let bucket = &self.pool.table[find.root.cur];
        let Some(empty) = find.empty else {
            let Some(line) = bucket.line else { return self.cpu.give_up() };
            self.line_append(line).await?;
            return Ok(false);
        };
        let (a, b) = (ctrl_next(find.a, PENDING, empty), record(block));

        if !self.cpu.cas_pair("store/edit.c:insert W20", bucket.ctrl, (find.a, 0), (a, b)).await? {
            return Ok(false);
        }
        note_change(&self.cpu, key, version);
        note_filling(&self.cpu, 0);
        self.help(bucket, a, b).await?;
        Ok(true)
    }

    /// store/edit.c:ltz__edit. false: there was nothing to delete.
    pub async fn edit(&self, key: u64, change: Change) -> R<bool> {
        let mut done = None;

        for attempt in 1..=TRIES {
            self.begins(attempt);
            let Some(find) = self.find(key).await? else { continue };
            let finished = match (&find.found, change) {
                (Some(old), _) => self.replace(key, &find, old, change).await?,
                (None, Change::Put(block, version)) => self.insert(key, &find, block, version).await?,
                (None, Change::Delete) => {
                    done = Some(false);
                    true
                }
            };
            let released =
                [Some(find.root.cur), find.root.prev].iter().flatten().any(|&place| is_released(&self.cpu, place));
            self.cpu.check(!released, "a table was released under a validated table hazard")?;
            if finished {
                done = done.or(Some(true));
                break;
            }
        }
        let Some(done) = done else { return self.cpu.give_up() };
        self.begins(TRIES + 1 + done as usize);
        self.cpu.store_release("store/edit.c:ltz__edit W13", self.pool.lane[self.lane].hw, 0).await?;
        self.returns(done as u64);
        Ok(done)
    }

    /// ALLOC, fill and PUT, as store/map.c:ltz__map_set does.
    pub async fn put(&self, key: u64, b: usize, version: u64) -> R<()> {
        self.take_block(b).await?;
        self.fill(b, key, version).await?;
        self.returns(0);
        self.edit(key, Change::Put(b, version)).await?;
        Ok(())
    }

    /// Tells whoever looks that what was done up to here is done.
    pub async fn tell(&self, key: u64) -> R<()> {
        let number = changes(&self.cpu, key);

        self.cpu.store_release("the tale", self.pool.told, number).await?;
        self.returns(0);
        Ok(())
    }
}

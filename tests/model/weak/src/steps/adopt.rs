// SPDX-License-Identifier: MIT
//! src/shm/adopt.c and src/store/refers.c

use crate::explore::R;
use crate::pool::*;

const TRIES: usize = 3;

impl Member {
    /// shm/adopt.c:adopt_intent, for the lane of one who is proven dead.
    pub async fn adopt_intent(&self, dead: usize) -> R<()> {
        let (cpu, lane, dead) = (&self.cpu, self.pool.lane[self.lane], self.pool.lane[dead]);
        let b = cpu.load_acquire("shm/adopt.c:adopt_intent hw", dead.hw).await? as usize;
        let version = cpu.load_acquire("shm/adopt.c:adopt_intent vw", dead.vw).await?;

        if b == 0 || version == 0 {
            return Ok(());
        }
        if !cpu.broken("shm/adopt.c:adopt_intent b", "no hazard") {
            cpu.store_release("shm/adopt.c:adopt_intent b", lane.hr, b as u64).await?;
        }
        cpu.fence_hazard(self.pool.mode, "shm/adopt.c:adopt_intent b").await?;
        let retire = self.intent_holds(b, version).await?;
        let early = cpu.broken("shm/adopt.c:adopt_intent h", "before g");
        if early {
            cpu.store_release("shm/adopt.c:adopt_intent h", lane.hr, 0).await?;
        }
        if retire {
            self.note_retired("shm/adopt.c:adopt_intent g", b).await?;
        }
        if !early {
            cpu.store_release("shm/adopt.c:adopt_intent h", lane.hr, 0).await?;
        }
        self.returns(0);
        Ok(())
    }

    /// c to f.
    async fn intent_holds(&self, b: usize, version: u64) -> R<bool> {
        let (cpu, block, slab) = (&self.cpu, self.block(b), self.slab_of(b));

        if let Some(owner) = slab.owner {
            let word = cpu.load_acquire("shm/adopt.c:adopt_intent c", owner).await?;
            if owner_kind(word) != OWNER_SLAB {
                return Ok(false);
            }
        }
        if !cpu.broken("shm/adopt.c:adopt_intent d", "left out")
            && cpu.load_acquire("shm/adopt.c:adopt_intent d", slab.alloc).await? & block.bit == 0
        {
            return Ok(false);
        }
        if !cpu.broken("shm/adopt.c:adopt_intent e", "left out")
            && cpu.load_acquire("shm/adopt.c:adopt_intent e", block.version).await? != version
        {
            return Ok(false);
        }
        Ok(!self.refers(b).await?)
    }

    /// The fetch_or of a retired bit, and what it must not hit.
    async fn note_retired(&self, place: &'static str, b: usize) -> R<()> {
        let (cpu, block, slab) = (&self.cpu, self.block(b), self.slab_of(b));

        cpu.look_around();
        cpu.fetch_or_release(place, slab.retired, block.bit).await?;
        cpu.check(cpu.last(slab.alloc) & block.bit != 0, "adoption retired a block that is not allocated")?;
        cpu.check(!self.is_linked(b), "adoption retired a block in the index")?;
        cpu.check(!is_filled(cpu, b), "adoption retired a block that somebody is filling")
    }

    /// shm/adopt.c:adopt_granule and shm/adopt.c:sweep. Whether the slab is this lane's now.
    pub async fn adopt_slab(&self, s: usize, dead: usize) -> R<bool> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);
        let owner = slab.owner.unwrap();
        let late = cpu.broken("shm/adopt.c:adopt_granule", "after the sweep");

        loop {
            let word = cpu.load_acquire("shm/adopt.c:adopt_granule owner", owner).await?;
            if word != owner_make(OWNER_SLAB, dead) {
                return Ok(false);
            }
            if late
                || cpu.cas_seq_cst("shm/adopt.c:adopt_granule", owner, word, owner_make(OWNER_SLAB, self.lane)).await?
            {
                break;
            }
        }
        let alloc = cpu.load_acquire("shm/adopt.c:sweep alloc", slab.alloc).await?;
        let retired = cpu.load_acquire("shm/adopt.c:sweep retired", slab.retired).await?;
        for b in 1..=self.pool.block.len() {
            let block = self.block(b);
            if block.slab == s && alloc & !retired & block.bit != 0 && !self.refers(b).await? {
                self.note_retired("shm/adopt.c:sweep", b).await?;
            }
        }
        self.returns(1);
        if late {
            return cpu
                .cas_seq_cst(
                    "shm/adopt.c:adopt_granule",
                    owner,
                    owner_make(OWNER_SLAB, dead),
                    owner_make(OWNER_SLAB, self.lane),
                )
                .await;
        }
        Ok(true)
    }

    /// shm/adopt.c:ltz__adopt, step 4.
    pub async fn release_row(&self, dead: usize) -> R<()> {
        let row = self.pool.lane[dead].row.unwrap();

        self.cpu.cas_seq_cst("shm/adopt.c:ltz__adopt row", row, row_word(1, 1), row_word(1, 0)).await.map(|_| ())
    }

    /// store/refers.c:ltz__map_refers. "Cannot be told" is yes.
    pub async fn refers(&self, b: usize) -> R<bool> {
        let cpu = &self.cpu;

        cpu.load_acquire("store/refers.c:ltz__map_refers meta", self.block(b).meta).await?;
        for _ in 0..TRIES {
            if let Some(answer) = self.ask(b).await? {
                return Ok(answer);
            }
        }
        cpu.give_up()
    }

    /// store/refers.c:ask; None: restart.
    async fn ask(&self, b: usize) -> R<Option<bool>> {
        let cpu = &self.cpu;
        let root = self.table_enter().await?;
        let target = &self.pool.table[root.cur];
        let mut bucket = target;
        let mut a = cpu.load_acquire("store/refers.c:ask a", target.ctrl.0).await?;

        match ctrl_state(a) {
            FROZEN => return Ok(None),
            UNBORN => {
                let Some(prev) = root.prev else { return Ok(None) };
                if !cpu.broken("store/refers.c:ask", "target only") {
                    bucket = &self.pool.table[prev];
                    a = cpu.load_acquire("store/refers.c:ask a of the source", bucket.ctrl.0).await?;
                    if ctrl_state(a) == UNBORN {
                        return Ok(None);
                    }
                }
            }
            _ => (),
        }
        let answer = self.names(bucket, a, b).await?;
        if !cpu.broken("store/refers.c:ask a again", "left out")
            && cpu.load_acquire("store/refers.c:ask a again", bucket.ctrl.0).await? != a
        {
            return Ok(None);
        }
        if !std::ptr::eq(bucket, target)
            && !cpu.broken("store/refers.c:ask target again", "left out")
            && ctrl_state(cpu.load_acquire("store/refers.c:ask target again", target.ctrl.0).await?) != UNBORN
        {
            return Ok(None);
        }
        match &self.pool.index {
            Some(index)
                if !cpu.broken("store/refers.c:ask root again", "left out")
                    && cpu.load_acquire("store/refers.c:ask root again", index.root).await? != root.word =>
            {
                Ok(None)
            }
            _ => Ok(Some(answer)),
        }
    }

    /// store/refers.c:names
    async fn names(&self, bucket: &Bucket, a: u64, b: usize) -> R<bool> {
        let cpu = &self.cpu;

        if ctrl_state(a) == PENDING && !cpu.broken("store/refers.c:names b", "left out") {
            let word = cpu.load_acquire("store/refers.c:names b", bucket.ctrl.1).await?;
            if is_record(word) && block_of(word) == b {
                return Ok(true);
            }
        }
        for &slot in &bucket.slot {
            let w = cpu.load_acquire("store/refers.c:names slot", slot).await?;
            if is_record(w) && block_of(w) == b {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

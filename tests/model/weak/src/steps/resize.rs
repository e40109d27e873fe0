// SPDX-License-Identifier: MIT
//! src/store/resize.c

use crate::explore::R;
use crate::pool::*;
use crate::steps::table::Root;

impl Member {
    /// base/copy.h:zero_in_pool over a table.
    async fn zero_table(&self, place: usize) -> R<()> {
        let (cpu, bucket) = (&self.cpu, &self.pool.table[place]);

        cpu.fence_release("base/copy.h:zero_in_pool");
        cpu.store_pair_relaxed("base/copy.h:zero_in_pool", bucket.ctrl, (0, 0)).await?;
        for &slot in &bucket.slot {
            cpu.store_relaxed("base/copy.h:zero_in_pool", slot, 0).await?;
        }
        Ok(())
    }

    /// store/resize.c:make_table at that place, whose granule is FREE or will be; entry `id` is the lane's.
    pub async fn make_table(&self, id: usize, place: usize, born: u64) -> R<bool> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());

        if !self.claim(index.owner[place]).await? {
            return Ok(false);
        }
        self.zero_table(place).await?;
        self.form(index.owner[place], OWNER_TABLE).await?;
        cpu.store_release("store/resize.c:make_table born", index.born[id - 1], born).await?;
        cpu.store_release("store/resize.c:make_table place", index.place[id - 1], place as u64 + 1).await?;
        Ok(true)
    }

    /// store/resize.c:ltz__resize_begin: a new table, and R8. Whether the root has it now.
    pub async fn resize_begin(&self, root: &Root, id: usize, place: usize) -> R<bool> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());
        let gen = root_gen(root.word) + 1;

        if !self.make_table(id, place, gen).await? {
            return Ok(false);
        }
        cpu.cas_seq_cst(
            "store/resize.c:ltz__resize_begin R8",
            index.root,
            root.word,
            root_make(id, root_cur(root.word), gen),
        )
        .await
    }

    /// store/resize.c:migrate_slice: R9 and R11.
    pub async fn resize_end(&self, root: &Root) -> R<()> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());
        let a = cpu.load_acquire("store/resize.c:migrate_slice R9", self.pool.table[root.cur].ctrl.0).await?;

        if ctrl_state(a) == UNBORN {
            self.migrate(root).await?;
        }
        let settled = root_make(root_cur(root.word), 0, root_gen(root.word) + 1);
        cpu.cas_seq_cst("store/resize.c:migrate_slice R11", index.root, root.word, settled).await.map(|_| ())
    }

    /// The whole of it, by one who finds no resize under way.
    pub async fn resize(&self, id: usize, place: usize) -> R<()> {
        let root = self.table_enter().await?;

        self.needs(&[30, root.live()]);
        if root.prev.is_none() && self.resize_begin(&root, id, place).await? {
            self.needs(&[31]);
            let root = self.table_enter().await?;
            if root.prev.is_some() {
                self.resize_end(&root).await?;
            }
        }
        self.returns(0);
        Ok(())
    }

    /// store/resize.c:ltz__tables_tend for a table of this lane: may it go? Then it is FREE.
    pub async fn tables_tend(&self, id: usize, place: usize) -> R<bool> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());

        if cpu.broken("store/resize.c:ltz__tables_tend root", "after the scan")
            && self.table_hazard(id, u64::MAX).await?
        {
            return Ok(false);
        }
        let root = cpu.load_acquire("store/resize.c:ltz__tables_tend root", index.root).await?;
        if root_cur(root) == id || root_prev(root) == id {
            return Ok(false);
        }
        if !cpu.broken("store/resize.c:ltz__tables_tend root", "after the scan")
            && self.table_hazard(id, root_gen(root)).await?
        {
            return Ok(false);
        }
        self.leave_table(id, place).await?;
        Ok(true)
    }

    /// The barrier, and shm/lane.c:ltz__table_hazard
    async fn table_hazard(&self, id: usize, dropped: u64) -> R<bool> {
        let (cpu, pool) = (&self.cpu, &self.pool);
        let index = pool.index.as_ref().unwrap();

        if cpu.broken("store/resize.c:ltz__tables_tend", "no scan") {
            return Ok(false);
        }
        cpu.members_barrier(pool.mode, "store/resize.c:ltz__tables_tend", pool.threads).await?;
        let born = cpu.load_acquire("store/resize.c:ltz__tables_tend born", index.born[id - 1]).await?;
        for lane in &pool.lane {
            let th = cpu.load_acquire("shm/lane.c:ltz__table_hazard th", lane.th).await?;
            if th != 0 && th > born && th - 1 < dropped {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// store/resize.c:leave_table and store/resize.c:free_entry; then the release of its granule.
    async fn leave_table(&self, id: usize, place: usize) -> R<()> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());
        let claim = cpu.load_acquire("store/resize.c:free_entry claim", index.claim[id - 1]).await?;
        let (table, claimed) = (owner_make(OWNER_TABLE, self.lane), owner_make(OWNER_CLAIM, self.lane));

        cpu.store_release("store/resize.c:free_entry place", index.place[id - 1], 0).await?;
        cpu.cas_acq_rel("store/resize.c:free_entry", index.claim[id - 1], claim, 0).await?;
        cpu.cas_seq_cst("store/resize.c:leave_table", index.owner[place], table, claimed).await?;
        cpu.cas_seq_cst("shm/granule.c:ltz__granules_release head", index.owner[place], claimed, OWNER_FREE).await?;
        note_released(cpu, place);
        Ok(())
    }

    /// store/resize.c:claim_entry: the entry with that id, if it is free or its claimer is gone.
    pub async fn claim_entry(&self, id: usize) -> R<bool> {
        let (cpu, index) = (&self.cpu, self.pool.index.as_ref().unwrap());
        let claim = cpu.load_acquire("store/resize.c:claim_entry claim", index.claim[id - 1]).await?;

        if claim != 0 {
            let first = cpu.broken("store/resize.c:claim_entry", "place before life");
            if first && cpu.load_acquire("store/resize.c:claim_entry place", index.place[id - 1]).await? != 0 {
                return Ok(false);
            }
            if self.label_lives(claim).await? {
                return Ok(false);
            }
            if !first && cpu.load_acquire("store/resize.c:claim_entry place", index.place[id - 1]).await? != 0 {
                return Ok(false);
            }
        }
        if !cpu.cas_acq_rel("store/resize.c:claim_entry", index.claim[id - 1], claim, self.lane as u64 + 1).await? {
            return Ok(false);
        }
        cpu.store_release("store/resize.c:claim_entry place", index.place[id - 1], 0).await?;
        cpu.store_release("store/resize.c:claim_entry born", index.born[id - 1], 0).await?;
        Ok(true)
    }
}

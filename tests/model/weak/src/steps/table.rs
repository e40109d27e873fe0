// SPDX-License-Identifier: MIT
//! src/store/table.c

use crate::cpu::Word;
use crate::explore::R;
use crate::pool::*;

/// struct ltz_root: places in Pool::table.
pub struct Root {
    pub word: u64,
    pub cur: usize,
    pub prev: Option<usize>,
}

impl Root {
    /// All of it as one number.
    pub fn live(&self) -> u64 {
        self.word ^ (self.cur as u64 + 1) << 52 ^ self.prev.map_or(0, |prev| prev as u64 + 1) << 58
    }
}

impl Member {
    /// store/table.h:root_read; None: nonsense, which the caller takes for a restart.
    pub async fn root_read(&self) -> R<Option<Root>> {
        let cpu = &self.cpu;
        let Some(index) = &self.pool.index else { return Ok(Some(Root { word: 0, cur: 0, prev: None })) };
        let word = cpu.load_acquire("store/table.h:root_read root", index.root).await?;
        let mut places = [None, None];

        for (place, id) in places.iter_mut().zip([root_cur(word), root_prev(word)]) {
            if id == 0 {
                continue;
            }
            let at = cpu.load_acquire("store/table.h:table_at place", index.place[id - 1]).await? as usize;
            if at == 0 {
                return Ok(None);
            }
            *place = Some(at - 1);
        }
        Ok(Some(Root { word, cur: places[0].unwrap(), prev: places[1] }))
    }

    /// store/table.c:ltz__table_enter: W1 to W3.
    pub async fn table_enter(&self) -> R<Root> {
        let cpu = &self.cpu;

        loop {
            let root = self.root_read().await?;
            let Some(index) = &self.pool.index else { return Ok(root.unwrap()) };
            let Some(root) = root else { return cpu.give_up() };
            let th = root_gen(root.word) + 1;

            if self.th.get() == th {
                return Ok(root);
            }
            if !cpu.broken("store/table.c:ltz__table_enter W2", "no hazard") {
                cpu.store_release("store/table.c:ltz__table_enter W2", self.pool.lane[self.lane].th, th).await?;
            }
            self.th.set(th);
            cpu.fence_hazard(self.pool.mode, "store/table.c:ltz__table_enter W2").await?;
            if cpu.broken("store/table.c:ltz__table_enter W3", "left out")
                || cpu.load_acquire("store/table.c:ltz__table_enter W3", index.root).await? == root.word
            {
                return Ok(root);
            }
        }
    }

    /// store/table.c:ltz__walk_next, from the bucket to its line: the line's slot, if it was appended.
    pub async fn walk_next(&self, bucket: &Bucket) -> R<Option<Word>> {
        let Some(line) = bucket.line else { return Ok(None) };
        let link = self.cpu.load_acquire("store/table.c:ltz__walk_next link", line.link).await?;

        Ok((link != 0).then_some(line.slot))
    }

    /// store/table.c:ltz__line_append and store/table.c:take_line; no lane keeps a spare one.
    pub async fn line_append(&self, line: Line) -> R<()> {
        let cpu = &self.cpu;
        let lines = cpu.load_acquire("store/table.c:take_line", line.lines).await?;

        if lines != 0 {
            return match cpu.load_acquire("store/table.c:ltz__line_append link", line.link).await? {
                0 => cpu.give_up(), /* -ENOSPC */
                _ => Ok(()),
            };
        }
        if cpu.cas_acq_rel("store/table.c:take_line", line.lines, 0, 1).await? {
            cpu.cas_seq_cst("store/table.c:ltz__line_append", line.link, 0, 1).await?;
        }
        Ok(())
    }

    /// store/table.c:ltz__help, and the place of its slot by store/table.c:ltz__slot_at
    pub async fn help(&self, bucket: &Bucket, a: u64, b: u64) -> R<()> {
        let cpu = &self.cpu;
        let slot = match bucket.slot.get(ctrl_slot(a)) {
            Some(&slot) => slot,
            None => match self.walk_next(bucket).await? {
                Some(slot) => slot,
                None => {
                    let now = cpu.load_acquire("store/table.c:ltz__help no slot", bucket.ctrl.0).await?;
                    return cpu.check(now != a, "an insert is pending on a slot that is not there");
                }
            },
        };
        if cpu.broken("store/table.c:ltz__help H2", "before H1")
            && cpu.load_acquire("store/table.c:ltz__help H2", bucket.ctrl.0).await? != a
        {
            return Ok(());
        }
        let x = cpu.load_acquire("store/table.c:ltz__help H1", slot).await?;

        if !cpu.broken("store/table.c:ltz__help H2", "left out")
            && !cpu.broken("store/table.c:ltz__help H2", "before H1")
            && cpu.load_acquire("store/table.c:ltz__help H2", bucket.ctrl.0).await? != a
        {
            return Ok(());
        }
        if !is_record(x) {
            cpu.cas_seq_cst("store/table.c:ltz__help H3", slot, x, b).await?;
        }
        cpu.cas_pair("store/table.c:ltz__help H4", bucket.ctrl, (a, b), (ctrl_next(a, IDLE, 0), 0)).await?;
        Ok(())
    }

    /// store/table.c:freeze_bucket: M1 and M2.
    async fn freeze_bucket(&self, bucket: &Bucket) -> R<()> {
        let cpu = &self.cpu;

        loop {
            let a = cpu.load_acquire("store/table.c:freeze_bucket M1", bucket.ctrl.0).await?;
            match ctrl_state(a) {
                FROZEN => return Ok(()),
                PENDING => {
                    let b = cpu.load_acquire("store/table.c:freeze_bucket M1 b", bucket.ctrl.1).await?;
                    self.help(bucket, a, b).await?;
                }
                IDLE => {
                    let to = (ctrl_next(a, FROZEN, 0), 0);
                    if cpu.cas_pair("store/table.c:freeze_bucket M2", bucket.ctrl, (a, 0), to).await? {
                        return Ok(());
                    }
                }
                _ => return cpu.check(false, "a source bucket is unborn"),
            }
        }
    }

    /// store/table.c:ltz__migrate, of the one bucket.
    pub async fn migrate(&self, root: &Root) -> R<()> {
        let cpu = &self.cpu;
        let (from, to) = (&self.pool.table[root.prev.unwrap()], &self.pool.table[root.cur]);
        let mut j = 0;

        self.needs(&[10, root.live()]);
        let late = cpu.broken("store/table.c:freeze_bucket M2", "after M3");
        if !late {
            self.freeze_bucket(from).await?;
        }
        for (i, &slot) in from.slot.iter().enumerate() {
            self.needs(&[11, root.live(), i as u64, j as u64]);
            let w = cpu.fetch_or_seq_cst("store/table.c:migrate_source M3", slot, SLOT_FROZEN).await? & !SLOT_FROZEN;

            if is_record(w) {
                if cpu.broken("store/table.c:put_next M4", "a store") {
                    cpu.store_release("store/table.c:put_next M4", to.slot[j], w).await?;
                } else {
                    cpu.cas_seq_cst("store/table.c:put_next M4", to.slot[j], 0, w).await?;
                }
                j += 1;
            }
        }
        if late {
            self.freeze_bucket(from).await?;
        }
        cpu.cas_pair("store/table.c:ltz__migrate M5", to.ctrl, (UNBORN, 0), (ctrl_next(0, IDLE, 0), 0)).await?;
        self.needs(&[12, root.live()]);
        Ok(())
    }
}

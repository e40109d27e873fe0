// SPDX-License-Identifier: MIT
//! src/store/read.c: GET.

use crate::cpu::Word;
use crate::explore::R;
use crate::pool::*;

const TRIES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Hit(u64, u64, u64), /* version, meta, value: judged when the answer stands */
    Miss,
    Restart,
}

impl Member {
    /// store/read.c:read_record: G6. None: another key's.
    async fn read_record(&self, key: u64, block: Block) -> R<Option<(u64, u64)>> {
        let cpu = &self.cpu;
        let meta = cpu.load_acquire("store/read.c:read_record meta", block.meta).await?;

        if meta_key(meta) != key {
            return Ok(None);
        }
        Ok(Some((meta, cpu.load_relaxed("store/read.c:read_record value", block.value).await?)))
    }

    /// store/read.c:try_pending: G3. None: go on with the slots.
    async fn try_pending(&self, key: u64, bucket: &Bucket, a: u64) -> R<Option<Got>> {
        let cpu = &self.cpu;
        let b = cpu.load_acquire("store/read.c:try_pending b", bucket.ctrl.1).await?;

        if !is_record(b) {
            return Ok(None);
        }
        let block = self.block(block_of(b));
        let version = cpu.load_acquire("store/read.c:try_pending version", block.version).await?;
        let Some((meta, value)) = self.read_record(key, block).await? else { return Ok(None) };
        cpu.fence_acquire("store/read.c:try_pending copy");
        if cpu.load_acquire("store/read.c:try_pending a again", bucket.ctrl.0).await? != a {
            return Ok(Some(Got::Restart));
        }
        Ok(Some(Got::Hit(version, meta, value)))
    }

    /// store/read.c:try_slot: G5 to G7.
    async fn try_slot(&self, key: u64, slot: Word, word: u64) -> R<Got> {
        let (cpu, block) = (&self.cpu, self.block(block_of(word)));
        let version = cpu.load_acquire("store/read.c:try_slot G5", block.version).await?;
        let copy = self.read_record(key, block).await?;
        let swapped = cpu.broken("store/read.c:try_slot G7", "version before slot");

        cpu.fence_acquire("store/read.c:try_slot G7");
        if swapped && cpu.load_acquire("store/read.c:try_slot G7 version", block.version).await? != version {
            return Ok(Got::Restart);
        }
        if !cpu.broken("store/read.c:try_slot G7 slot", "left out")
            && cpu.load_acquire("store/read.c:try_slot G7 slot", slot).await? & !SLOT_FROZEN != word
        {
            return Ok(Got::Restart);
        }
        if !swapped
            && !cpu.broken("store/read.c:try_slot G7 version", "left out")
            && cpu.load_acquire("store/read.c:try_slot G7 version", block.version).await? != version
        {
            return Ok(Got::Restart);
        }
        if version == 0 && !cpu.broken("store/read.c:try_slot G7 version 0", "taken") {
            return Ok(Got::Restart);
        }
        Ok(copy.map_or(Got::Miss, |(meta, value)| Got::Hit(version, meta, value)))
    }

    /// store/read.c:try_slots: G4.
    async fn try_slots(&self, key: u64, bucket: &Bucket, root: u64, old: bool) -> R<Got> {
        for (i, &slot) in bucket.slot.iter().enumerate() {
            self.needs(&[20, root, old as u64, i as u64]);
            let w = self.cpu.load_acquire("store/read.c:try_slots G4", slot).await? & !SLOT_FROZEN;

            if is_record(w) {
                let got = self.try_slot(key, slot, w).await?;
                if got != Got::Miss {
                    return Ok(got);
                }
            }
        }
        self.needs(&[21, root, old as u64]);
        Ok(Got::Miss)
    }

    /// store/read.c:try_bucket
    async fn try_bucket(&self, key: u64, bucket: &Bucket, a: u64, root: u64, old: bool) -> R<Got> {
        if ctrl_state(a) == PENDING {
            if let Some(got) = self.try_pending(key, bucket, a).await? {
                return Ok(got);
            }
        }
        let got = self.try_slots(key, bucket, root, old).await?;
        if got == Got::Miss && bucket.line.is_some() {
            return self.try_lines(key, bucket).await;
        }
        Ok(got)
    }

    /// store/read.c:try_bucket's look at the link, and store/read.c:try_lines
    async fn try_lines(&self, key: u64, bucket: &Bucket) -> R<Got> {
        if self.cpu.load_acquire("store/read.c:try_bucket link", bucket.line.unwrap().link).await? == 0 {
            return Ok(Got::Miss);
        }
        let Some(slot) = self.walk_next(bucket).await? else { return Ok(Got::Miss) };
        let w = self.cpu.load_acquire("store/read.c:try_slots G4", slot).await? & !SLOT_FROZEN;

        if is_record(w) {
            self.try_slot(key, slot, w).await
        } else {
            Ok(Got::Miss)
        }
    }

    /// store/read.c:try_get: G1 to G9.
    async fn try_get(&self, key: u64) -> R<Got> {
        let (cpu, pool) = (&self.cpu, &self.pool);
        let Some(root) = self.root_read().await? else { return Ok(Got::Restart) };
        let bucket = &pool.table[root.cur];
        let a = cpu.load_acquire("store/read.c:try_get G2", bucket.ctrl.0).await?;
        let got = if ctrl_state(a) != UNBORN {
            self.try_bucket(key, bucket, a, root.live(), false).await?
        } else if let Some(prev) = root.prev {
            /* store/read.c:try_prev */
            let old = &pool.table[prev];
            let a = cpu.load_acquire("store/read.c:try_prev a", old.ctrl.0).await?;
            if ctrl_state(a) == UNBORN {
                return Ok(Got::Restart);
            }
            let got = self.try_bucket(key, old, a, root.live(), true).await?;
            if got == Got::Restart {
                return Ok(got);
            }
            cpu.fence_acquire("store/read.c:try_prev G8");
            if !cpu.broken("store/read.c:try_prev G8", "left out")
                && ctrl_state(cpu.load_acquire("store/read.c:try_prev G8", bucket.ctrl.0).await?) != UNBORN
            {
                return Ok(Got::Restart);
            }
            got
        } else {
            return Ok(Got::Restart);
        };
        match &pool.index {
            Some(index)
                if !cpu.broken("store/read.c:try_get G9", "left out")
                    && cpu.load_acquire("store/read.c:try_get G9", index.root).await? != root.word =>
            {
                Ok(Got::Restart)
            }
            _ => Ok(got),
        }
    }

    /// store/read.c:try_get_fast, where the scenario has a root; the same without the rare cases.
    async fn try_get_fast(&self, key: u64) -> R<Got> {
        let cpu = &self.cpu;
        let Some(index) = &self.pool.index else { return Ok(Got::Restart) };
        let root = cpu.load_acquire("store/read.c:try_get_fast G1", index.root).await?;

        if root_prev(root) != 0 {
            return Ok(Got::Restart);
        }
        let place = cpu.load_acquire("store/read.c:try_get_fast place", index.place[root_cur(root) - 1]).await?;
        if place == 0 {
            return Ok(Got::Restart);
        }
        let bucket = &self.pool.table[place as usize - 1];
        if ctrl_state(cpu.load_acquire("store/read.c:try_get_fast G2", bucket.ctrl.0).await?) != IDLE {
            return Ok(Got::Restart);
        }
        let got = self.try_slots(key, bucket, root ^ place << 52, false).await?;
        if cpu.load_acquire("store/read.c:try_get_fast G9", index.root).await? != root {
            return Ok(Got::Restart);
        }
        Ok(got)
    }

    /// store/read.c:ltz__map_get, and what its answer must be: of one life of a block, and the key's
    /// state (version, or 0: absent) after change number `since` or a later one. Returns that number.
    pub async fn get(&self, key: u64, since: u64) -> R<u64> {
        let got = self.try_get_fast(key).await?;

        self.get_slowly(key, since, got).await
    }

    /// The same, where what is rare has kept try_get_fast from an answer.
    pub async fn get_the_long_way(&self, key: u64) -> R<u64> {
        self.get_slowly(key, 0, Got::Restart).await
    }

    async fn get_slowly(&self, key: u64, since: u64, mut got: Got) -> R<u64> {
        let cpu = &self.cpu;

        for attempt in 1..=TRIES {
            if got != Got::Restart {
                break;
            }
            self.begins(attempt);
            got = self.try_get(key).await?;
        }
        let version = match got {
            Got::Restart => return cpu.give_up(),
            Got::Miss => 0,
            Got::Hit(version, meta, value) => {
                cpu.check(version_of(meta) == version && version_of(value) == version, "a get returned a mixture")?;
                version
            }
        };
        match change_to(cpu, key, version, since) {
            Some(number) => {
                self.returns(number);
                Ok(number)
            }
            None if version == 0 => cpu.check(false, "a get missed a key that is there").map(|_| 0),
            None => cpu.check(false, "a get returned what was not there").map(|_| 0),
        }
    }

    /// Gets, after it was told of changes.
    pub async fn get_as_told(&self, key: u64) -> R<()> {
        let told = self.cpu.load_acquire("the tale", self.pool.told).await?;

        self.returns(told);
        self.get(key, told).await.map(|_| ())
    }
}

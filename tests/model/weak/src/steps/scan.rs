// SPDX-License-Identifier: MIT
//! src/store/scan.c: one bucket.

use crate::cpu::Word;
use crate::explore::R;
use crate::pool::*;

const TRIES: usize = 3;

impl Member {
    /// store/scan.c:append. None: restart.
    async fn append(&self, slot: Option<Word>, word: u64) -> R<Option<u64>> {
        let (cpu, block) = (&self.cpu, self.block(block_of(word)));
        let version = cpu.load_acquire("store/scan.c:append version", block.version).await?;

        if version == 0 {
            return Ok(None);
        }
        let meta = cpu.load_acquire("store/scan.c:append meta", block.meta).await?;
        let key = cpu.load_relaxed("store/scan.c:append key", block.value).await?;
        cpu.fence_acquire("store/scan.c:append");
        if let Some(slot) = slot {
            if cpu.load_acquire("store/scan.c:append slot", slot).await? & !SLOT_FROZEN != word {
                return Ok(None);
            }
        }
        if !cpu.broken("store/scan.c:append version again", "left out")
            && cpu.load_acquire("store/scan.c:append version again", block.version).await? != version
        {
            return Ok(None);
        }
        /* not yet an answer: the bucket is validated as a whole */
        let mixed = version_of(meta) != version || version_of(key) != version;
        Ok(Some(if mixed { MIXTURE } else { meta_key(meta) }))
    }

    /// store/scan.c:take_bucket: its keys. None: restart.
    async fn take_bucket(&self, bucket: &Bucket) -> R<Option<Vec<u64>>> {
        let cpu = &self.cpu;
        let a = cpu.load_acquire("store/scan.c:take_bucket a", bucket.ctrl.0).await?;
        let (mut keys, mut pending) = (Vec::new(), 0);

        if ctrl_state(a) == PENDING {
            pending = cpu.load_acquire("store/scan.c:take_bucket b", bucket.ctrl.1).await?;
            if is_record(pending) {
                let Some(key) = self.append(None, pending).await? else { return Ok(None) };
                keys.push(key);
            }
        }
        for (i, &slot) in bucket.slot.iter().enumerate() {
            let found = keys.iter().fold(0, |found, key| found * 8 + key + 1);
            self.needs(&[60, a, pending, i as u64, found]);
            let w = cpu.load_acquire("store/scan.c:take_slots", slot).await? & !SLOT_FROZEN;
            if !is_record(w) || w == pending {
                continue;
            }
            let Some(key) = self.append(Some(slot), w).await? else { return Ok(None) };
            keys.push(key);
        }
        cpu.fence_acquire("store/scan.c:take_bucket");
        if !cpu.broken("store/scan.c:take_bucket a again", "left out")
            && cpu.load_acquire("store/scan.c:take_bucket a again", bucket.ctrl.0).await? != a
        {
            return Ok(None);
        }
        Ok(Some(keys))
    }

    /// store/scan.c:take_validated: `always` is in the pool all the time.
    pub async fn scan(&self, always: u64) -> R<()> {
        for attempt in 1..=TRIES {
            self.begins(attempt);
            let Some(keys) = self.take_bucket(&self.pool.table[0]).await? else { continue };
            let times = |key| keys.iter().filter(|&&found| found == key).count();

            self.cpu.check(times(MIXTURE) == 0, "a scan returned a mixture")?;
            self.cpu.check(times(always) == 1, "a scan did not return a key once that is there all the time")?;
            return self.cpu.check(keys.iter().all(|&key| times(key) == 1), "a scan returned a key twice");
        }
        self.cpu.give_up()
    }
}

const MIXTURE: u64 = 7;

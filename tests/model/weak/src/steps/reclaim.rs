// SPDX-License-Identifier: MIT
//! src/shm/reclaim.c and the scan of src/shm/lane.c

use crate::explore::R;
use crate::pool::*;

impl Member {
    /// shm/lane.c:ltz__hazards_read
    pub async fn hazards_read(&self) -> R<Vec<u64>> {
        let (cpu, pool) = (&self.cpu, &self.pool);
        let mut refs = Vec::new();

        cpu.members_barrier(pool.mode, "shm/lane.c:ltz__hazards_read", pool.threads).await?;
        for (i, lane) in pool.lane.iter().enumerate() {
            if i == self.lane {
                continue; /* it is here, and its hazards are 0 */
            }
            if let Some(row) = lane.row {
                if !row_up(cpu.load_acquire("shm/lane.c:read_row word", row).await?) {
                    continue;
                }
            }
            if let Some(used) = lane.used {
                if cpu.load_acquire("shm/lane.c:read_row lanes_used", used).await? == 0 {
                    continue;
                }
            }
            refs.push(cpu.load_acquire("shm/lane.c:read_row hw", lane.hw).await?);
            refs.push(cpu.load_acquire("shm/lane.c:read_row hr", lane.hr).await?);
        }
        Ok(refs)
    }

    /// shm/reclaim.c:reclaim_batch over one slab of the lane's: RECLAIM. The blocks that came free.
    pub async fn reclaim(&self, s: usize) -> R<Vec<usize>> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);
        let bits = cpu.load_acquire("shm/reclaim.c:collect_word retired", slab.retired).await?;
        let retired: Vec<usize> =
            (1..=self.pool.block.len()).filter(|&b| self.block(b).slab == s && bits & self.block(b).bit != 0).collect();

        if retired.is_empty() {
            return Ok(retired);
        }
        let late = cpu.broken("shm/reclaim.c:collect_word version", "after the scan");
        for &b in &retired {
            if !late {
                cpu.store_release("shm/reclaim.c:collect_word version", self.block(b).version, 0).await?;
            }
        }
        if cpu.broken("shm/reclaim.c:free_word", "before the scan") {
            self.free_word(s, &retired).await?;
            self.hazards_read().await?;
            return Ok(retired);
        }
        let hazards = self.hazards_read().await?;
        let free: Vec<usize> = retired.into_iter().filter(|&b| !hazards.contains(&(b as u64))).collect();
        for &b in &free {
            if late {
                cpu.store_release("shm/reclaim.c:collect_word version", self.block(b).version, 0).await?;
            }
        }
        if !free.is_empty() {
            self.free_word(s, &free).await?;
        }
        self.returns(free.iter().fold(0, |mask, &b| mask | self.block(b).bit));
        Ok(free)
    }

    /// shm/reclaim.c:free_word
    async fn free_word(&self, s: usize, free: &[usize]) -> R<()> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);
        let mask = free.iter().fold(0, |mask, &b| mask | self.block(b).bit);
        let swapped = cpu.broken("shm/reclaim.c:free_word", "alloc before retired");

        if !swapped {
            self.clear_retired(s, mask).await?;
        }
        let alloc = cpu.load_relaxed("shm/reclaim.c:free_word alloc", slab.alloc).await?;
        cpu.look_around();
        cpu.store_release("shm/reclaim.c:free_word alloc", slab.alloc, alloc & !mask).await?;
        for &b in free {
            cpu.check(!self.is_linked(b), "a block in the index came free")?;
        }
        if swapped {
            self.clear_retired(s, mask).await?;
        }
        Ok(())
    }

    async fn clear_retired(&self, s: usize, mask: u64) -> R<()> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);

        if cpu.broken("shm/reclaim.c:free_word retired", "load and store") {
            let bits = cpu.load_relaxed("shm/reclaim.c:free_word retired", slab.retired).await?;
            return cpu.store_relaxed("shm/reclaim.c:free_word retired", slab.retired, bits & !mask).await;
        }
        cpu.fetch_and_relaxed("shm/reclaim.c:free_word retired", slab.retired, !mask).await.map(|_| ())
    }
}

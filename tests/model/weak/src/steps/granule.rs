// SPDX-License-Identifier: MIT
//! src/shm/granule.c, and what src/shm/slab.c and src/shm/reclaim.c do with a whole extent

use crate::cpu::Word;
use crate::explore::R;
use crate::pool::*;
use crate::steps::expiry::NEVER;

impl Member {
    /// shm/granule.c:claim_at, of one granule. Waits until it is FREE.
    pub async fn claim(&self, owner: Word) -> R<bool> {
        let cpu = &self.cpu;
        let word = cpu.await_acquire("shm/granule.c:claim_at owner", owner, |word| word == OWNER_FREE).await?;

        cpu.cas_seq_cst("shm/granule.c:claim_at", owner, word, owner_make(OWNER_CLAIM, self.lane)).await
    }

    /// shm/granule.c:ltz__granules_form
    pub async fn form(&self, owner: Word, kind: u64) -> R<()> {
        let from = owner_make(OWNER_CLAIM, self.lane);
        let done =
            self.cpu.cas_seq_cst("shm/granule.c:ltz__granules_form", owner, from, owner_make(kind, self.lane)).await?;

        self.cpu.check(done, "a claim was taken from its living owner")
    }

    /// shm/slab.c:make_extent: the header is written inside the CLAIM.
    pub async fn make_extent(&self, s: usize) -> R<bool> {
        self.make_extent_at(s, self.pool.due).await
    }

    pub async fn make_extent_at(&self, s: usize, due: Option<Word>) -> R<bool> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);
        let owner = slab.owner.unwrap();
        let early = cpu.broken("shm/slab.c:make_extent", "formed before the header");

        if !self.claim(owner).await? {
            return Ok(false);
        }
        if early {
            self.form(owner, OWNER_SLAB).await?;
        }
        if let Some(due) = due {
            cpu.store_release("shm/slab.c:make_extent due", due, NEVER).await?;
        }
        cpu.store_release("shm/slab.c:make_extent retired", slab.retired, 0).await?;
        cpu.store_release("shm/slab.c:make_extent alloc", slab.alloc, 0).await?;
        if !early {
            self.form(owner, OWNER_SLAB).await?;
        }
        Ok(true)
    }

    /// shm/reclaim.c:begin_release, shm/reclaim.c:finish_release and shm/granule.c:ltz__granules_release
    /// of a slab that is empty. Whether it is FREE now, or waits for a hazard.
    pub async fn release(&self, s: usize) -> R<bool> {
        let (cpu, slab) = (&self.cpu, self.pool.slab[s]);
        let (owner, lane) = (slab.owner.unwrap(), self.lane);
        let claim = owner_make(OWNER_CLAIM, lane);

        if cpu.load_relaxed("shm/reclaim.c:is_empty", slab.alloc).await? != 0 {
            return Ok(false);
        }
        if !cpu.cas_seq_cst("shm/reclaim.c:begin_release", owner, owner_make(OWNER_SLAB, lane), claim).await? {
            return Ok(false);
        }
        if !cpu.broken("shm/reclaim.c:finish_release", "no scan") {
            let hazards = self.hazards_read().await?;
            let inside = |&b: &u64| b != 0 && self.block(b as usize).slab == s;
            if hazards.iter().any(inside) {
                return Ok(false);
            }
        }
        cpu.cas_seq_cst("shm/granule.c:ltz__granules_release head", owner, claim, OWNER_FREE).await
    }
}

// SPDX-License-Identifier: MIT
//! src/shm/slab.c

use crate::explore::R;
use crate::pool::*;

impl Member {
    /// shm/slab.c:take_block
    pub async fn take_block(&self, b: usize) -> R<()> {
        let (cpu, block, slab) = (&self.cpu, self.block(b), self.slab_of(b));

        let late = cpu.broken("shm/slab.c:take_block version", "after alloc");
        if !late {
            cpu.store_release("shm/slab.c:take_block version", block.version, 0).await?;
        }
        let alloc = cpu.load_relaxed("shm/slab.c:take_block alloc", slab.alloc).await?;
        cpu.store_release("shm/slab.c:take_block alloc", slab.alloc, alloc | block.bit).await?;
        note_filling(cpu, b);
        if late {
            cpu.store_release("shm/slab.c:take_block version", block.version, 0).await?;
        }
        cpu.fence_release("shm/slab.c:take_block content");
        Ok(())
    }

    /// shm/slab.c:ltz__block_free
    pub async fn block_free(&self, b: usize) -> R<()> {
        let (cpu, block, slab) = (&self.cpu, self.block(b), self.slab_of(b));
        let alloc = cpu.load_relaxed("shm/slab.c:ltz__block_free alloc", slab.alloc).await?;

        note_filling(cpu, 0);
        cpu.store_release("shm/slab.c:ltz__block_free alloc", slab.alloc, alloc & !block.bit).await
    }

    /// shm/slab.c:ltz__block_retire
    pub async fn block_retire(&self, b: usize) -> R<()> {
        let (cpu, block, slab) = (&self.cpu, self.block(b), self.slab_of(b));

        if let Some(owner) = slab.owner {
            let word = cpu.load_acquire("shm/slab.c:retired_word_in_slab owner", owner).await?;
            if owner_kind(word) != OWNER_SLAB {
                return Ok(());
            }
        }
        let halves = cpu.broken("shm/slab.c:ltz__block_retire", "load and store");
        let bits = if halves { cpu.load_relaxed("shm/slab.c:ltz__block_retire", slab.retired).await? } else { 0 };
        cpu.look_around();
        if halves {
            cpu.store_release("shm/slab.c:ltz__block_retire", slab.retired, bits | block.bit).await?;
        } else {
            cpu.fetch_or_release("shm/slab.c:ltz__block_retire", slab.retired, block.bit).await?;
        }
        cpu.check(cpu.last(slab.alloc) & block.bit != 0, "a block that is not allocated was retired")?;
        cpu.check(!self.is_linked(b), "a block in the index was retired")
    }
}

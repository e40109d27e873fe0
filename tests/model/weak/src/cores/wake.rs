// SPDX-License-Identifier: MIT
//! The service thread's bell, the lane's private lock, the row's word: two or
//! three accesses each.

use crate::cores::{Scenarios, ONE};
use crate::cpu::{word, Cpu, Mode, Word};
use crate::explore::{Shared, Thread, R};
use std::future::Future;
use std::rc::Rc;

pub const SCENARIOS: Scenarios = &[
    ("rings", ONE, rings),
    ("the thread is told to end", ONE, stop),
    ("lane lock", ONE, lane_lock),
    ("proof of death", ONE, proof_of_death),
];

fn thread<F: Future<Output = R<()>> + 'static>(shared: &Shared, body: impl FnOnce(Rc<Cpu>) -> F) -> Thread {
    Box::pin(body(Cpu::new(shared)))
}

/// The eventfd: a counter in the kernel, whose lock orders who comes first.
async fn ring_bell(cpu: &Cpu, bell: Word) -> R<()> {
    cpu.exchange_seq_cst("sys/poll.c:ltz__sys_poll_ring (kernel)", bell, 1).await.map(|_| ())
}

async fn await_bell(cpu: &Cpu, bell: Word) -> R<()> {
    cpu.await_acquire("sys/poll.c:ltz__sys_poll_wait (kernel)", bell, |rings| rings != 0).await?;
    cpu.exchange_seq_cst("sys/poll.c:silence (kernel)", bell, 0).await.map(|_| ())
}

/// Two members' calls want something done and ring; the thread must do both before it waits for ever.
fn rings(shared: &Shared, _: Mode) -> Vec<Thread> {
    let (wish, other) = (word(shared, "wish", 0, 0), word(shared, "wish", 1, 0));
    let (rung, bell) = (word(shared, "rung", 0, 0), word(shared, "bell", 0, 0));
    let ring = move |cpu: Rc<Cpu>, wish: Word| async move {
        cpu.store_relaxed("what is rung for", wish, 1).await?;
        /* pool/service.c:ring */
        if cpu.exchange_seq_cst("pool/service.c:ring", rung, 1).await? == 0 {
            ring_bell(&cpu, bell).await?;
        }
        Ok(())
    };

    shared.borrow_mut().ghosts = vec![0; 2];
    shared.borrow_mut().finally(|run| {
        if run.ghosts == [1, 1] {
            Ok(())
        } else {
            Err("what was rung for was not done".to_string())
        }
    });
    vec![
        thread(shared, move |cpu| ring(cpu, wish)),
        thread(shared, move |cpu| ring(cpu, other)),
        thread(shared, move |cpu| async move {
            for _ in 0..2 {
                await_bell(&cpu, bell).await?;
                /* pool/service.c:keep_house; then the tick */
                let after = cpu.broken("pool/service.c:keep_house", "after the tick");
                if !after {
                    cpu.exchange_seq_cst("pool/service.c:keep_house", rung, 0).await?;
                }
                for (i, wish) in [wish, other].into_iter().enumerate() {
                    if cpu.load_relaxed("what is rung for", wish).await? == 1 {
                        cpu.set_ghost(i, 1);
                    }
                }
                if after {
                    cpu.exchange_seq_cst("pool/service.c:keep_house", rung, 0).await?;
                }
            }
            Ok(())
        }),
    ]
}

/// The thread ends when it is told to, and then what was written before is seen.
fn stop(shared: &Shared, _: Mode) -> Vec<Thread> {
    let (data, stopping, bell) =
        (word(shared, "data", 0, 0), word(shared, "stopping", 0, 0), word(shared, "bell", 0, 0));

    vec![
        thread(shared, move |cpu| async move {
            cpu.store_relaxed("what is told", data, 1).await?;
            cpu.store_release("pool/service.c:ltz__service_stop", stopping, 1).await?;
            ring_bell(&cpu, bell).await
        }),
        thread(shared, move |cpu| async move {
            for _ in 0..2 {
                if cpu.load_acquire("pool/service.c:run", stopping).await? == 1 {
                    let data = cpu.load_relaxed("what is told", data).await?;
                    return cpu.check(data == 1, "the thread ended without what it was told");
                }
                await_bell(&cpu, bell).await?;
            }
            cpu.check(false, "the bell rang and the thread was not told to end")
        }),
    ]
}

/// shm/lane.h:lane_try and shm/lane.h:lane_give: what a lane knows privately goes from thread to thread.
fn lane_lock(shared: &Shared, _: Mode) -> Vec<Thread> {
    let (busy, version) = (word(shared, "busy", 0, 0), word(shared, "next_version", 0, 0));
    let user = move |cpu: Rc<Cpu>| async move {
        if cpu.exchange_acquire("shm/lane.h:lane_try", busy, 1).await? != 0 {
            return Ok(());
        }
        let next = cpu.load_relaxed("lane->next_version", version).await?;
        cpu.store_relaxed("lane->next_version", version, next + 1).await?;
        cpu.look_around();
        cpu.store_release("shm/lane.h:lane_give", busy, 0).await?;
        cpu.set_ghost(0, cpu.ghost(0) + 1);
        Ok(())
    };

    shared.borrow_mut().ghosts = vec![0];
    shared.borrow_mut().finally(move |run| {
        if run.memory.last(version.0) == run.ghosts[0] {
            Ok(())
        } else {
            Err("two users of a lane took one version".to_string())
        }
    });
    vec![thread(shared, user), thread(shared, user), thread(shared, user)]
}

/// shm/member.c:ltz__member_dead: the row's word first, then its lock, which a new member takes before it is up.
fn proof_of_death(shared: &Shared, _: Mode) -> Vec<Thread> {
    let (row, lock) = (word(shared, "row", 0, 1 << 1 | 1), word(shared, "lock", 0, 0));

    vec![
        /* somebody else settles the dead member of generation 1, then generation 2 joins: shm/member.c:join_row */
        thread(shared, move |cpu| async move {
            cpu.cas_seq_cst("shm/adopt.c:ltz__adopt row", row, 1 << 1 | 1, 1 << 1).await?;
            cpu.exchange_seq_cst("sys/process.c:ltz__sys_lock_take (kernel)", lock, 1).await?;
            let word = cpu.load_acquire("shm/member.c:join_row word", row).await?;
            cpu.cas_seq_cst("shm/member.c:join_row word", row, word, 2 << 1 | 1).await.map(|_| ())
        }),
        thread(shared, move |cpu| async move {
            let swapped = cpu.broken("shm/member.c:ltz__member_dead", "lock before word");
            let mut held = 1;

            if swapped {
                held = cpu.fetch_or_seq_cst("sys/process.c:ltz__sys_lock_held (kernel)", lock, 0).await?;
            }
            let word = cpu.load_acquire("shm/member.c:ltz__member_dead", row).await?;
            if word & 1 == 0 {
                return Ok(());
            }
            if !swapped {
                held = cpu.fetch_or_seq_cst("sys/process.c:ltz__sys_lock_held (kernel)", lock, 0).await?;
            }
            cpu.check(held == 1 || word >> 1 == 1, "a living member was taken for dead")
        }),
    ]
}

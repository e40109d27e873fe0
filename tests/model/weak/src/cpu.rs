// SPDX-License-Identifier: MIT
//! A thread's accesses, with the names and orders of src/base/atomic.h.
//!
//! Each takes the place in the C code that it stands for, `file:function` and
//! what it does there. Place and access together are a *rule*; a mutant breaks
//! one rule: it takes an order away (`relaxed`), half of it (`no acquire`,
//! `no release`), a fence (`no fence`; of a full one only what makes it full:
//! `acq_rel`), or, where a step asks `broken`, swaps or leaves out accesses.

use crate::explore::{Next, Run, Shared, Stop, R};
use crate::memory::Order;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(pub usize);

/// How hazards are fenced: what SHM_FENCES in the pool's flags says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A full fence by each member, and by the scanner.
    Fences,
    /// A compiler barrier by each member; the scanner's membarrier is the fence on all of them.
    Membarrier,
}

pub struct Cpu {
    pub thread: usize,
    shared: Shared,
    mortal: Cell<bool>,
    looks: Cell<bool>,
}

type Place = &'static str;

impl Cpu {
    pub fn new(shared: &Shared) -> Rc<Cpu> {
        let thread = shared.borrow_mut().memory.add_thread();

        Rc::new(Cpu { thread, shared: shared.clone(), mortal: Cell::new(false), looks: Cell::new(false) })
    }

    /// A process that may be killed before any of its accesses.
    pub fn mortal(shared: &Shared) -> Rc<Cpu> {
        let cpu = Cpu::new(shared);

        cpu.mortal.set(true);
        cpu
    }

    pub fn run<T>(&self, f: impl FnOnce(&mut Run) -> T) -> T {
        f(&mut self.shared.borrow_mut())
    }

    /// A check that comes with the next access looks at what others do: that access is no private matter.
    pub fn look_around(&self) {
        self.looks.set(true);
    }

    /// Waits until it is this thread's turn.
    async fn turn(&self, next: Next) -> R<()> {
        let mut waited = false;

        let watched = self.looks.take();
        self.run(|run| run.announce(self.thread, next, watched));
        poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        self.run(|run| run.note(self.thread, 0));
        if self.mortal.get() && self.run(|run| run.choose(2)) == 1 {
            self.run(|run| run.tell(|_| format!("{} dies", self.thread)));
            return Err(Stop);
        }
        Ok(())
    }

    /* ---- rules --------------------------------------------------------------- */

    /// Is this rule broken in this run?
    pub fn broken(&self, place: Place, way: Place) -> bool {
        self.run(|run| {
            if run.mutants.is_empty() {
                run.pass(place, way);
            }
            run.mutants.contains(&(place, way))
        })
    }

    fn acquire(&self, place: Place) -> Order {
        if self.broken(place, "relaxed") {
            Order::Relaxed
        } else {
            Order::Acquire
        }
    }

    fn release(&self, place: Place) -> Order {
        if self.broken(place, "relaxed") {
            Order::Relaxed
        } else {
            Order::Release
        }
    }

    fn acq_rel(&self, place: Place) -> Order {
        match (self.broken(place, "no acquire"), self.broken(place, "no release")) {
            (true, _) => Order::Release,
            (_, true) => Order::Acquire,
            _ => Order::AcqRel,
        }
    }

    /* ---- loads and stores ------------------------------------------------------ */

    pub async fn load(&self, place: Place, word: Word, order: Order) -> R<u64> {
        self.turn(Next::Load(word.0)).await?;
        Ok(self.run(|run| {
            let readable = run.memory.readable(self.thread, word.0);
            let newer = run.choose(readable.len()); /* the last one first: what usually happens */
            let value = run.memory.load(self.thread, word.0, readable.end - 1 - newer, order);

            run.note(self.thread, value);
            run.tell(|names| {
                let old = if newer > 0 { format!(" ({newer} newer)") } else { String::new() };
                format!("{} loads {} = {}{old}, {order:?}: {place}", self.thread, name(names, word), show(value))
            });
            value
        }))
    }

    pub async fn load_relaxed(&self, place: Place, word: Word) -> R<u64> {
        self.load(place, word, Order::Relaxed).await
    }

    pub async fn load_acquire(&self, place: Place, word: Word) -> R<u64> {
        self.load(place, word, self.acquire(place)).await
    }

    pub async fn store(&self, place: Place, word: Word, value: u64, order: Order) -> R<()> {
        self.turn(Next::Store(word.0)).await?;
        self.run(|run| {
            let places = run.memory.storable(self.thread, word.0);
            let chosen = run.choose(places.len());

            run.memory.store(self.thread, word.0, places[places.len() - 1 - chosen], value, order);
            run.tell(|names| {
                let old = if chosen > 0 { format!(" (before {chosen})") } else { String::new() };
                format!("{} stores {} = {}{old}, {order:?}: {place}", self.thread, name(names, word), show(value))
            });
        });
        Ok(())
    }

    pub async fn store_relaxed(&self, place: Place, word: Word, value: u64) -> R<()> {
        self.store(place, word, value, Order::Relaxed).await
    }

    pub async fn store_release(&self, place: Place, word: Word, value: u64) -> R<()> {
        self.store(place, word, value, self.release(place)).await
    }

    /* ---- read-modify-write ------------------------------------------------------ */

    /// `change` gives the new value, or None: then it was only a load, with the failure order.
    pub async fn modify(&self, place: Place, word: Word, order: Order, change: impl Fn(u64) -> Option<u64>) -> R<u64> {
        self.turn(Next::Store(word.0)).await?;
        Ok(self.run(|run| {
            let able: Vec<usize> = run
                .memory
                .readable(self.thread, word.0)
                .filter(|&at| change(run.memory.value(word.0, at)).is_none() || run.memory.extensible(word.0, at))
                .collect();
            let chosen = able[able.len() - 1 - run.choose(able.len())];
            let old = run.memory.value(word.0, chosen);
            let new = change(old);

            match new {
                Some(value) => run.memory.modify(self.thread, word.0, chosen, value, order),
                None => {
                    let failure = if order.acquires() { Order::Acquire } else { Order::Relaxed };
                    run.memory.load(self.thread, word.0, chosen, failure);
                }
            }
            run.note(self.thread, old);
            run.tell(|names| {
                let did = new.map_or("stays".to_string(), |value| format!("-> {}", show(value)));
                format!("{} swaps {} = {} {did}, {order:?}: {place}", self.thread, name(names, word), show(old))
            });
            old
        }))
    }

    pub async fn cas_acq_rel(&self, place: Place, word: Word, from: u64, to: u64) -> R<bool> {
        let order = self.acq_rel(place);

        Ok(self.modify(place, word, order, |value| (value == from).then_some(to)).await? == from)
    }

    /// seq_cst in C: see memory.rs.
    pub async fn cas_seq_cst(&self, place: Place, word: Word, from: u64, to: u64) -> R<bool> {
        self.cas_acq_rel(place, word, from, to).await
    }

    pub async fn exchange_seq_cst(&self, place: Place, word: Word, to: u64) -> R<u64> {
        self.modify(place, word, self.acq_rel(place), |_| Some(to)).await
    }

    /// __atomic_exchange_n(..., __ATOMIC_ACQUIRE)
    pub async fn exchange_acquire(&self, place: Place, word: Word, to: u64) -> R<u64> {
        self.modify(place, word, self.acquire(place), |_| Some(to)).await
    }

    pub async fn fetch_or_seq_cst(&self, place: Place, word: Word, bits: u64) -> R<u64> {
        self.modify(place, word, self.acq_rel(place), |value| Some(value | bits)).await
    }

    pub async fn fetch_or_release(&self, place: Place, word: Word, bits: u64) -> R<u64> {
        self.modify(place, word, self.release(place), |value| Some(value | bits)).await
    }

    pub async fn fetch_and_relaxed(&self, place: Place, word: Word, bits: u64) -> R<u64> {
        self.modify(place, word, Order::Relaxed, |value| Some(value & bits)).await
    }

    /// The loop as one step.
    pub async fn raise_acq_rel(&self, place: Place, word: Word, value: u64) -> R<u64> {
        self.modify(place, word, self.acq_rel(place), |old| (old < value).then_some(value)).await
    }

    /// The loop as one step.
    pub async fn lower_seq_cst(&self, place: Place, word: Word, value: u64) -> R<u64> {
        self.modify(place, word, self.acq_rel(place), |old| Some(old.min(value))).await
    }

    /// Plain stores to both words of a pair, of which nobody else stores to one alone.
    pub async fn store_pair_relaxed(&self, place: Place, pair: (Word, Word), to: (u64, u64)) -> R<()> {
        self.turn(Next::Pair(pair.0 .0, pair.1 .0)).await?;
        self.run(|run| {
            let places = run.memory.storable(self.thread, pair.0 .0);
            let at = places[places.len() - 1 - run.choose(places.len())];

            run.memory.store(self.thread, pair.0 .0, at, to.0, Order::Relaxed);
            run.memory.store(self.thread, pair.1 .0, at, to.1, Order::Relaxed);
            run.tell(|names| format!("{} stores pair {} = {}: {place}", self.thread, name(names, pair.0), show(to.0)));
        });
        Ok(())
    }

    /// Both words in one step; loads take them one at a time.
    pub async fn cas_pair(&self, place: Place, pair: (Word, Word), from: (u64, u64), to: (u64, u64)) -> R<bool> {
        let order = self.acq_rel(place);

        self.turn(Next::Pair(pair.0 .0, pair.1 .0)).await?;
        Ok(self.run(|run| {
            let (a, b) = (pair.0 .0, pair.1 .0);
            let first = run.memory.readable(self.thread, a).start.max(run.memory.readable(self.thread, b).start);
            let holds = |run: &Run, at| run.memory.value(a, at) == from.0 && run.memory.value(b, at) == from.1;
            let able: Vec<usize> = (first..run.memory.readable(self.thread, a).end)
                .filter(|&at| !holds(run, at) || run.memory.extensible(a, at))
                .collect();
            let chosen = able[able.len() - 1 - run.choose(able.len())];
            let done = holds(run, chosen);

            if done {
                run.memory.modify(self.thread, a, chosen, to.0, order);
                run.memory.modify(self.thread, b, chosen, to.1, order);
                if order.releases() {
                    run.memory.carry(a, b, chosen + 1);
                }
            } else {
                let failure = if order.acquires() { Order::Acquire } else { Order::Relaxed };
                run.memory.load(self.thread, a, chosen, failure);
                run.memory.load(self.thread, b, chosen, failure);
            }
            run.note(self.thread, done as u64);
            run.tell(|names| {
                let did = if done { format!("-> {}", show(to.0)) } else { "fails".to_string() };
                format!("{} swaps pair {} {did}, {order:?}: {place}", self.thread, name(names, pair.0))
            });
            done
        }))
    }

    /* ---- fences ------------------------------------------------------------------ */

    pub fn fence_acquire(&self, place: Place) {
        if !self.broken(place, "no fence") {
            self.run(|run| run.memory.fence_acquire(self.thread));
        }
    }

    pub fn fence_release(&self, place: Place) {
        if !self.broken(place, "no fence") {
            self.run(|run| run.memory.fence_release(self.thread));
        }
    }

    pub async fn fence_full(&self, place: Place) -> R<()> {
        if self.broken(place, "no fence") {
            return Ok(());
        }
        if self.broken(place, "acq_rel") {
            self.run(|run| {
                run.memory.fence_acquire(self.thread);
                run.memory.fence_release(self.thread);
            });
            return Ok(());
        }
        self.turn(Next::Everything).await?;
        self.run(|run| {
            run.memory.fence_seq_cst(self.thread);
            run.tell(|_| format!("{} fences: {place}", self.thread));
        });
        Ok(())
    }

    /// shm/attachment.h:fence_hazard
    pub async fn fence_hazard(&self, mode: Mode, place: Place) -> R<()> {
        match mode {
            Mode::Fences => self.fence_full(place).await,
            Mode::Membarrier => Ok(()),
        }
    }

    /// shm/member.c:ltz__members_barrier. With membarrier: a full fence here and, at some moment
    /// between the beginning of the call and its end, one in each thread, wherever that one is.
    pub async fn members_barrier(&self, mode: Mode, place: Place, threads: usize) -> R<()> {
        if mode == Mode::Fences {
            return self.fence_full(place).await;
        }
        if self.broken(place, "no fence") {
            return Ok(());
        }
        self.turn(Next::Everything).await?;
        self.run(|run| run.memory.fence_seq_cst(self.thread));
        let mut left: Vec<usize> = (0..threads).filter(|&thread| thread != self.thread).collect();
        while !left.is_empty() {
            self.turn(Next::Everything).await?;
            let other = left.remove(self.run(|run| run.choose(left.len())));
            self.run(|run| {
                run.note(self.thread, other as u64);
                run.memory.fence_seq_cst(other);
                run.tell(|_| format!("{} makes {other} fence: {place}", self.thread));
            });
        }
        self.turn(Next::Everything).await?;
        self.run(|run| run.memory.fence_seq_cst(self.thread));
        Ok(())
    }

    /* ---- what is not memory --------------------------------------------------------- */

    /// Waits until thread `other` has ended, and knows then what it knew: the kernel's lock says so.
    pub async fn await_end(&self, other: usize) -> R<()> {
        self.run(|run| run.wait(self.thread, Some(Box::new(move |run| run.ended[other])), false));
        self.turn(Next::Everything).await?;
        self.run(|run| {
            run.wait(self.thread, None, false);
            run.memory.follow(self.thread, other);
            run.tell(|_| format!("{} knows that {other} has ended", self.thread));
        });
        Ok(())
    }

    /// Waits until the word may be read as something that fits, and reads it so; for ever, if need be.
    pub async fn await_acquire(
        &self,
        place: Place,
        word: Word,
        fits: impl Fn(u64) -> bool + Clone + 'static,
    ) -> R<u64> {
        let (thread, order) = (self.thread, self.acquire(place));
        let able = move |run: &Run| -> Vec<usize> {
            run.memory.readable(thread, word.0).filter(|&at| fits(run.memory.value(word.0, at))).collect()
        };
        let waits = able.clone();

        self.run(|run| run.wait(thread, Some(Box::new(move |run| !waits(run).is_empty())), true));
        self.look_around();
        self.turn(Next::Load(word.0)).await?;
        Ok(self.run(|run| {
            run.wait(thread, None, false);
            let able = able(run);
            let chosen = able[run.choose(able.len())];
            let value = run.memory.load(thread, word.0, chosen, order);
            run.note(thread, value);
            run.tell(|names| format!("{thread} has waited for {} = {}: {place}", name(names, word), show(value)));
            value
        }))
    }

    /// From here on the thread's state is this, whatever it has read before.
    pub fn forget(&self, state: u64) {
        self.run(|run| run.forget(self.thread, state));
    }

    /// A promise of the code.
    pub fn check(&self, holds: bool, text: &str) -> R<()> {
        if holds {
            return Ok(());
        }
        self.run(|run| run.violate(text));
        Err(Stop)
    }

    /// The loop went round more often than the model allows: no verdict on this run.
    pub fn give_up<T>(&self) -> R<T> {
        self.run(|run| run.give_up());
        Err(Stop)
    }

    pub fn ghost(&self, index: usize) -> u64 {
        self.run(|run| run.ghosts[index])
    }

    pub fn set_ghost(&self, index: usize, value: u64) {
        self.run(|run| run.ghosts[index] = value);
    }

    /// The word's last value in modification order: for checks, not for the code.
    pub fn last(&self, word: Word) -> u64 {
        self.run(|run| run.memory.last(word.0))
    }
}

fn name(names: &[String], word: Word) -> &str {
    &names[word.0]
}

fn show(value: u64) -> String {
    format!("{value:#x}")
}

/// A new word of the modelled memory.
pub fn word(shared: &Shared, name: &str, number: usize, value: u64) -> Word {
    let mut run = shared.borrow_mut();

    if run.story.is_some() {
        run.names.push(format!("{name}{number}"));
    }
    Word(run.memory.add_word(value))
}

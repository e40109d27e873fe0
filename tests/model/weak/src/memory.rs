// SPDX-License-Identifier: MIT
//! The memory of C11, as something that can be stepped through.
//!
//! A word is the list of all values that were stored to it, in modification
//! order. What a thread may read is bounded by its *view*: for each word the
//! oldest place in that list which it may still see. A release store carries
//! its thread's view along; an acquire load that reads it joins that view to
//! its own. This is the view-based reading of C11 without load buffering
//! (the release/acquire/relaxed part of RC11):
//!
//! - a load reads *any* value from the thread's view on, not only the last;
//! - a store goes to *any* place behind the thread's view, also before values
//!   that other threads have stored and even read already;
//! - a read-modify-write stands directly behind the value that it read, and
//!   nothing ever comes between the two; it need not read the last value, and
//!   a compare-and-swap may fail on an old one;
//! - a relaxed load notes the view of what it read, and an acquire fence joins
//!   what was noted; a release fence sets what later relaxed stores carry;
//! - a read-modify-write carries on what it read carried (release sequences);
//! - seq_cst fences have one order and join their views in it.
//!
//! A seq_cst access is taken for acquire and release only: weaker than C11, so
//! nothing is missed by it.

/// Words at most. A view has one place for each.
pub const WORDS: usize = 48;
/// Threads at most.
pub const THREADS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
}

impl Order {
    pub fn acquires(self) -> bool {
        matches!(self, Order::Acquire | Order::AcqRel)
    }
    pub fn releases(self) -> bool {
        matches!(self, Order::Release | Order::AcqRel)
    }
}

/// For each word a place in its modification order.
#[derive(Clone, Copy)]
pub struct View([u8; WORDS]);

const NOTHING: View = View([0; WORDS]);

impl View {
    fn join(&mut self, other: &View) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(other);
        }
    }
    fn raise(&mut self, word: usize, place: usize) {
        self.0[word] = self.0[word].max(place as u8);
    }
}

#[derive(Clone)]
struct Store {
    value: u64,
    view: View,
    /// By a read-modify-write: the store before it is the one that it read.
    chained: bool,
}

#[derive(Clone, Copy)]
struct Views {
    /// What the thread has seen.
    now: View,
    /// `now` and what its relaxed loads have noted: what an acquire fence sees.
    noted: View,
    /// What its relaxed stores carry: `now` at its last release fence.
    fenced: View,
}

#[derive(Clone)]
pub struct Memory {
    words: Vec<Vec<Store>>,
    threads: Vec<Views>,
    /// What the last seq_cst fence had seen.
    fences: View,
}

impl Memory {
    pub fn new() -> Memory {
        Memory { words: Vec::new(), threads: Vec::new(), fences: NOTHING }
    }

    pub fn add_word(&mut self, value: u64) -> usize {
        assert!(self.words.len() < WORDS, "more than {WORDS} words");
        self.words.push(vec![Store { value, view: NOTHING, chained: false }]);
        self.words.len() - 1
    }

    /// What the word holds before anybody runs.
    pub fn begin_with(&mut self, word: usize, value: u64) {
        self.words[word][0].value = value;
    }

    pub fn add_thread(&mut self) -> usize {
        assert!(self.threads.len() < THREADS, "more than {THREADS} threads");
        self.threads.push(Views { now: NOTHING, noted: NOTHING, fenced: NOTHING });
        self.threads.len() - 1
    }

    /// The places that the thread may read.
    pub fn readable(&self, thread: usize, word: usize) -> std::ops::Range<usize> {
        self.threads[thread].now.0[word] as usize..self.words[word].len()
    }

    pub fn value(&self, word: usize, place: usize) -> u64 {
        self.words[word][place].value
    }

    /// The last value in modification order.
    pub fn last(&self, word: usize) -> u64 {
        self.words[word].last().unwrap().value
    }

    /// May a read-modify-write that reads there store? One has not done so yet.
    pub fn extensible(&self, word: usize, place: usize) -> bool {
        self.words[word].get(place + 1).is_none_or(|next| !next.chained)
    }

    /// The places where the thread may store.
    pub fn storable(&self, thread: usize, word: usize) -> Vec<usize> {
        let from = self.threads[thread].now.0[word] as usize;
        (from..self.words[word].len()).filter(|&place| self.extensible(word, place)).map(|place| place + 1).collect()
    }

    pub fn load(&mut self, thread: usize, word: usize, place: usize, order: Order) -> u64 {
        let Store { value, view, .. } = self.words[word][place];
        let views = &mut self.threads[thread];

        views.now.raise(word, place);
        views.noted.raise(word, place);
        views.noted.join(&view);
        if order.acquires() {
            views.now.join(&view);
        }
        value
    }

    pub fn store(&mut self, thread: usize, word: usize, place: usize, value: u64, order: Order) {
        self.insert(thread, word, place, value, order, None);
    }

    /// Loads at `place` and stores right behind it.
    pub fn modify(&mut self, thread: usize, word: usize, place: usize, value: u64, order: Order) {
        let carried = self.words[word][place].view;

        self.load(thread, word, place, order);
        self.insert(thread, word, place + 1, value, order, Some(carried));
    }

    /// The store at `place` of word carries the one at the same place of `other` too: they were one.
    pub fn carry(&mut self, word: usize, other: usize, place: usize) {
        self.words[word][place].view.raise(other, place);
    }

    fn insert(&mut self, thread: usize, word: usize, place: usize, value: u64, order: Order, read: Option<View>) {
        self.make_place(word, place);
        let views = &mut self.threads[thread];
        views.now.raise(word, place);
        views.noted.raise(word, place);
        let mut view = if order.releases() { views.now } else { views.fenced };
        view.raise(word, place);
        if let Some(carried) = &read {
            view.join(carried);
        }
        self.words[word].insert(place, Store { value, view, chained: read.is_some() });
    }

    /// All that is at `place` or behind it moves on by one.
    fn make_place(&mut self, word: usize, place: usize) {
        let shift = |view: &mut View| view.0[word] += (view.0[word] as usize >= place) as u8;

        for views in &mut self.threads {
            shift(&mut views.now);
            shift(&mut views.noted);
            shift(&mut views.fenced);
        }
        for store in self.words.iter_mut().flatten() {
            shift(&mut store.view);
        }
        shift(&mut self.fences);
    }

    pub fn fence_acquire(&mut self, thread: usize) {
        self.threads[thread].now = self.threads[thread].noted;
    }

    pub fn fence_release(&mut self, thread: usize) {
        self.threads[thread].fenced = self.threads[thread].now;
    }

    /// Acquire, release, and a place in the one order of such fences.
    pub fn fence_seq_cst(&mut self, thread: usize) {
        let views = &mut self.threads[thread];

        self.fences.join(&views.noted);
        *views = Views { now: self.fences, noted: self.fences, fenced: self.fences };
    }

    /// All that `other` has done happened before what `thread` does next.
    pub fn follow(&mut self, thread: usize, other: usize) {
        let view = self.threads[other].now;

        self.threads[thread].now.join(&view);
        self.threads[thread].noted.join(&view);
    }

    /// Everything that decides what may happen next.
    pub fn digest(&self, digest: &mut Digest) {
        let words = self.words.len();

        for stores in &self.words {
            digest.add(stores.len() as u64);
            for store in stores {
                digest.add(store.value);
                digest.add_bytes(&store.view.0[..words]);
                digest.add(store.chained as u64);
            }
        }
        for views in &self.threads {
            digest.add_bytes(&views.now.0[..words]);
            digest.add_bytes(&views.noted.0[..words]);
            digest.add_bytes(&views.fenced.0[..words]);
        }
        digest.add_bytes(&self.fences.0[..words]);
    }
}

/// 128 bits of a state: two of 10^8 states are taken for one with probability 10^-23.
pub struct Digest {
    a: u64,
    b: u64,
}

impl Digest {
    pub fn new() -> Digest {
        Digest { a: 0x243f_6a88_85a3_08d3, b: 0x1319_8a2e_0370_7344 }
    }
    pub fn add(&mut self, value: u64) {
        self.a = (self.a ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.b = (self.b.rotate_left(23) ^ value).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        self.b ^= self.b >> 31;
    }
    fn add_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
    pub fn end(mut self) -> u128 {
        self.add(0);
        let (a, b) = (self.a ^ self.a >> 32, self.b);
        self.add(a ^ b);
        (self.a as u128) << 64 | self.b as u128
    }
}

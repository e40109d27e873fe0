// SPDX-License-Identifier: MIT
//! The C code, access by access. A file here is a file there; the first
//! argument of each access names the function (tests/tidy checks that it is
//! there) and the step. What is left out does not touch shared memory, or the
//! scenario's shape makes it impossible (lines, several buckets).

pub mod adopt;
pub mod edit;
pub mod expiry;
pub mod granule;
pub mod member;
pub mod read;
pub mod reclaim;
pub mod resize;
pub mod scan;
pub mod slab;
pub mod table;

//! `tongluo-hub`: the hub's program.

fn main() {}

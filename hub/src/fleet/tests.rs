//! The fleet as its routes show it.

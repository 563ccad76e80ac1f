//! Every byte between device, gateway and hub.
#![no_std]

//! Black-box rigs: protocol scripts, conformance with official clients, crash loops.

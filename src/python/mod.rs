//! The native module `a2alinker._core`: converts, detaches from the interpreter and hands over.

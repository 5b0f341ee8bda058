//! The harness: protocols joined to scripted peers in memory, under virtual time.

//! Claims about the bytes of peer messages.

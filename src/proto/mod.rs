//! What both sides of a link share: frames, ids, link authentication, lanes and limits.

//! Calls to the operating system, each with a portable fallback.
//!
//! Linux is what is tested. Other Unix systems and Windows are written for, and untested.

use std::io;

/// Wakes whoever polls a descriptor: readable from `ring` to `silence`.
///
/// Ringing twice is ringing once. Neither call blocks, allocates or fails in a way that a caller could act on: a bell that is
/// already full is ringing.
#[derive(Debug)]
pub struct Bell(platform::Bell);

impl Bell {
    /// Makes a silent bell.
    ///
    /// # Errors
    ///
    /// The process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        platform::Bell::new().map(Self)
    }

    /// Returns the descriptor to poll for reading; -1 where the platform has none.
    pub fn descriptor(&self) -> i32 {
        self.0.descriptor()
    }

    /// Makes the descriptor readable.
    pub fn ring(&self) {
        self.0.ring();
    }

    /// Makes the descriptor unreadable again.
    pub fn silence(&self) {
        self.0.silence();
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    #[derive(Debug)]
    pub(super) struct Bell(pub(super) OwnedFd);

    impl Bell {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(
                0,
                EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
            )?))
        }

        pub(super) fn descriptor(&self) -> i32 {
            self.0.as_raw_fd()
        }

        pub(super) fn ring(&self) {
            let _already_full = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        }

        pub(super) fn silence(&self) {
            let _already_empty = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod platform {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[derive(Debug)]
    pub(super) struct Bell {
        rope: UnixStream,
        clapper: UnixStream,
    }

    impl Bell {
        pub(super) fn new() -> io::Result<Self> {
            let (rope, clapper) = UnixStream::pair()?;
            rope.set_nonblocking(true)?;
            clapper.set_nonblocking(true)?;
            Ok(Self { rope, clapper })
        }

        pub(super) fn descriptor(&self) -> i32 {
            self.clapper.as_raw_fd()
        }

        pub(super) fn ring(&self) {
            let _already_full = (&self.rope).write(&[1]);
        }

        pub(super) fn silence(&self) {
            while matches!((&self.clapper).read(&mut [0; 64]), Ok(64)) {}
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::io;

    #[derive(Debug)]
    pub(super) struct Bell;

    impl Bell {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn descriptor(&self) -> i32 {
            -1
        }

        pub(super) fn ring(&self) {}

        pub(super) fn silence(&self) {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::Bell;

    #[test]
    fn a_bell_rung_twice_is_silenced_once() {
        let bell = Bell::new().unwrap();
        assert!(!is_ringing(&bell));
        bell.ring();
        bell.ring();
        assert!(is_ringing(&bell));
        bell.silence();
        assert!(!is_ringing(&bell));
    }

    fn is_ringing(bell: &Bell) -> bool {
        let mut polled = [PollFd::new(&bell.0.0, PollFlags::IN)];
        poll(
            &mut polled,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    }
}

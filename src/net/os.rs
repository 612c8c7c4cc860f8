//! Calls that differ between operating systems, each with a portable fallback.
//!
//! Written for Linux, macOS and Windows; tested on Linux.

#[cfg(feature = "client")]
pub mod network;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds until they are accepted. Chosen: a swarm that comes back at once fits.
const BACKLOG: i32 = 1024;

/// Bytes that the kernel takes from one link beyond what is on its way to the peer. What has been handed to the kernel
/// can't be overtaken any more, so this bounds how long urgent frames wait behind bulk. Chosen: two frames of the largest
/// size; measured on loopback, a frame costs the switchboard the same with more (within a tenth).
pub const UNSENT_BYTES: usize = 128 * 1024;

/// Opens a listening socket.
///
/// On Unix it may take over a port whose connections of an earlier process are still winding down. Elsewhere that
/// option would let two processes share the port, so it stays off.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` means all addresses. Where the system keeps the families apart, it means those of IPv6.
        let _kept_apart = socket.set_only_v6(false);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Prepares the socket of a link: small frames leave at once, and little waits where it can't be overtaken.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    bound_unsent(stream, UNSENT_BYTES);
    Ok(())
}

/// How long what was sent to a switchboard may stay unacknowledged before the kernel gives the connection up; by itself it would try for a
/// quarter of an hour. Chosen: longer than a network that comes back in time takes, and than any switchboard is too busy to read.
#[cfg(all(feature = "client", any(target_os = "linux", target_os = "android")))]
const UNACKNOWLEDGED_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Prepares an agent's socket: as [`prepare`], and one that leads nowhere any more fails soon. Where the system has no such option, silence is
/// noticed later.
#[cfg(feature = "client")]
pub fn prepare_outbound(stream: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT))?;
    prepare(stream)
}

/// Bounds the unsent bytes in the kernel. Where the system has no such option the kernel's own buffer is the bound.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn bound_unsent(stream: &TcpStream, bytes: usize) {
    // An old kernel may not know the option; the link works without.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX));
}

/// Bounds the unsent bytes in the kernel by bounding its whole send buffer.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn bound_unsent(stream: &TcpStream, bytes: usize) {
    let _ = SockRef::from(stream).set_send_buffer_size(4 * bytes);
}

/// Lets the allocator keep memory that is freed, up to 32 MiB, instead of giving it back and fetching it anew for each frame.
///
/// glibc gives the end of its heap back as soon as 128 KiB of it are free, until a process has freed a larger block: then its
/// threshold is twice that block (mallopt(3), `M_MMAP_THRESHOLD`). So one block is taken and freed, untouched. Measured with
/// frames of 64 KiB: 12 page faults a frame without, none with, and half the time in the kernel. Elsewhere it does nothing.
pub fn keep_freed_memory() {
    const BLOCK_BYTES: usize = 16 * 1024 * 1024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
}

/// Lets this process have as many sockets as the system allows it: the usual first limit is 1,024.
pub fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};

        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // Refused on some systems beyond a bound of their own; then the first limit stands.
        let _refused = setrlimit(Resource::Nofile, limit);
    }
}

/// Creates a file that only its owner may read. Never overwrites one.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    // Elsewhere the file inherits the rights of its folder, which for a user's own folder are the same.
    options.open(path)
}

/// Opens a file for reading. A symbolic link, whoever put it there, is not followed, and what is no file makes nobody wait.
pub fn open_no_follow(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    options.open(path)
}

/// Reports whether opening failed because of a symbolic link.
pub fn is_link_error(error: &io::Error) -> bool {
    #[cfg(unix)]
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    #[cfg(not(unix))]
    let is_link = false;
    is_link
}

/// Whose a file is, if not this user's, and the bits of its mode that let others in, or its owner not write. Elsewhere than on Unix
/// the folder's rights count, and nothing is found.
pub fn loose_rights(metadata: &Metadata) -> (Option<u32>, u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        let (owner, mode) = (metadata.uid(), metadata.mode());
        let is_own = owner == rustix::process::geteuid().as_raw();
        ((!is_own).then_some(owner), (mode & 0o077) | (!mode & 0o200))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        (None, 0)
    }
}

/// Makes a change to the entries of a folder last. Elsewhere than on Unix a folder can't be opened for that.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Returns the address by which this machine reaches others, or loopback when it has no network.
///
/// Connecting a UDP socket sends nothing; it only makes the kernel choose a route. The destination is an address for
/// documentation (RFC 5737).
pub fn outward_address() -> IpAddr {
    let probe = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Returns 32 bytes from the operating system's generator: the seed of a key, or of the generator that a state machine is given.
///
/// # Errors
///
/// The system has none to give, which doesn't pass.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    Ok(seed)
}

/// Reports whether accepting failed because this process or machine has run out of something, which passes.
pub fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE and ENFILE, or WSAEMFILE; std has no portable kind for them.
    matches!(error.raw_os_error(), Some(23 | 24 | 10024)) || error.kind() == io::ErrorKind::OutOfMemory
}

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
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
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
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }
}

import CLinux
import Glibc

/// The file that a Unix listener leaves behind: replaced when it is dead, left alone when it is
/// anything else.
enum UnixPath {
    /// Device and inode of a socket at `path`; nil if there is none.
    static func identity(of path: String) -> PathIdentity? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        return PathIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// Removes a socket at `path` that nobody listens on any more. A bind over a live one would
    /// steal its clients, so that is EADDRINUSE; what is no socket is EEXIST and left alone.
    static func makeRoom(_ path: String, _ address: SocketAddress) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw SystemError(EEXIST, "bind") }
        let probe = socket(AF_UNIX, CInt(MR_SOCK_STREAM | MR_SOCK_NONBLOCK | MR_SOCK_CLOEXEC), 0)
        guard probe >= 0 else { throw SystemError(errno, "socket") }
        defer { Glibc.close(probe) }
        let result = try address.withKernelForm { connect(probe, $0, $1) == 0 ? 0 : errno }
        // Anything but a refusal (a full backlog gives EAGAIN) means that somebody is there.
        guard result == ECONNREFUSED else { throw SystemError(EADDRINUSE, "bind") }
        unlink(path)
    }
}

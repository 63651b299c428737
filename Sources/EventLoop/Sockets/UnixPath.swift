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
        guard let found = identity(of: path) else { throw SystemError(EEXIST, "bind") }
        let probe = socket(AF_UNIX, CInt(MR_SOCK_STREAM | MR_SOCK_NONBLOCK | MR_SOCK_CLOEXEC), 0)
        guard probe >= 0 else { throw SystemError(errno, "socket") }
        defer { Glibc.close(probe) }
        let result = try address.withKernelForm { connect(probe, $0, $1) == 0 ? 0 : errno }
        // Anything but a refusal (a full backlog gives EAGAIN) means that somebody is there.
        guard result == ECONNREFUSED else { throw SystemError(EADDRINUSE, "bind") }
        // Not what somebody else, who takes no part in the lock, has put there meanwhile.
        remove(path, ifStill: found)
    }

    /// Does nothing without an identity.
    static func remove(_ path: String, ifStill identity: PathIdentity?) {
        if let identity, self.identity(of: path) == identity { unlink(path) }
    }

    /// Gives a socket that was just bound its mode, from which the process's mask may have taken
    /// something. By way of the file and not of its name, which may be somebody else's link by now
    /// in a directory that others write to: then EEXIST.
    static func setMode(
        _ mode: mode_t, of path: String, ifStill identity: PathIdentity?
    ) throws(SystemError) {
        let file = open(path, CInt(MR_O_PATH) | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw SystemError(errno, "chmod") }
        defer { Glibc.close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw SystemError(errno, "chmod") }
        let found = PathIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        guard found == identity else { throw SystemError(EEXIST, "chmod") }
        guard status.st_mode & 0o777 != mode else { return }
        guard chmod("/proc/self/fd/\(file)", mode) == 0 else { throw SystemError(errno, "chmod") }
    }

    /// A path that means the same when the process works in another directory; nil if the present
    /// one cannot be named.
    static func absolute(_ path: String) -> String? {
        guard !path.hasPrefix("/") else { return path }
        guard let directory = getcwd(nil, 0) else { return nil }
        defer { free(directory) }
        let text = String(cString: directory)
        // What lies outside of the process's root is named otherwise.
        return text.hasPrefix("/") ? "\(text)/\(path)" : nil
    }

    private static let lockTries = 200
    /// Between two tries, in microseconds: a second in all, a thousand times what a start holds it.
    private static let lockPause: UInt32 = 5000

    /// A descriptor that holds a lock on the path's directory until it is closed; -1 where there is
    /// none to be had, and the start goes on without.
    static func lockDirectory(of path: String) -> CInt {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { String(path[...$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return -1 }
        for _ in 0..<lockTries {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            usleep(lockPause)
        }
        Glibc.close(descriptor)
        return -1
    }
}
